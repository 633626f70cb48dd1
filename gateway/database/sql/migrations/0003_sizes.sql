-- Sizes, in bytes. A constant default makes each of these instant on a table of any size.

-- step: column cache_jobs.total_size_bytes
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_jobs') AND attname = 'total_size_bytes' AND NOT attisdropped)
ALTER TABLE cache_jobs ADD COLUMN total_size_bytes bigint DEFAULT 0;

-- step: column cache_jobs.completed_size_bytes
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_jobs') AND attname = 'completed_size_bytes' AND NOT attisdropped)
ALTER TABLE cache_jobs ADD COLUMN completed_size_bytes bigint DEFAULT 0;

-- step: column cache_jobs.failed_size_bytes
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_jobs') AND attname = 'failed_size_bytes' AND NOT attisdropped)
-- The planned sizes of failed files: they count as ended, but not as completed bytes.
ALTER TABLE cache_jobs ADD COLUMN failed_size_bytes bigint DEFAULT 0;

-- step: column cache_job_items.file_size_bytes
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_job_items') AND attname = 'file_size_bytes' AND NOT attisdropped)
ALTER TABLE cache_job_items ADD COLUMN file_size_bytes bigint DEFAULT 0;

-- step: column cache_job_items.bytes_read
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_job_items') AND attname = 'bytes_read' AND NOT attisdropped)
-- The high-water mark of bytes read: it never falls, so neither does a job's progress.
ALTER TABLE cache_job_items ADD COLUMN bytes_read bigint DEFAULT 0;
