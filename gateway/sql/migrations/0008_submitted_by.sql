-- step: column cache_jobs.submitted_by
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_jobs') AND attname = 'submitted_by' AND NOT attisdropped)
-- The name of the API key that submitted the job; null for jobs that came another way.
ALTER TABLE cache_jobs ADD COLUMN submitted_by text;
