-- step: column cache_jobs.submitted_by
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('cache_jobs') AND attname = 'submitted_by' AND NOT attisdropped)
-- The name of the API key that submitted the job; null for jobs that came another way.
ALTER TABLE cache_jobs ADD COLUMN submitted_by text;

-- step: function keep_cancelled
-- unless: to_regprocedure('teamcache_gateway.keep_cancelled()') IS NOT NULL
-- The backend's worker updates jobs without looking at their state: once a job is cancelled, only
-- an explicit return to 'pending' may change it again.
CREATE FUNCTION teamcache_gateway.keep_cancelled() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RETURN OLD;
END
$$;

-- step: trigger teamcache_gateway_keep_cancelled
-- unless: EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('cache_jobs') AND tgname = 'teamcache_gateway_keep_cancelled')
CREATE TRIGGER teamcache_gateway_keep_cancelled
BEFORE UPDATE ON cache_jobs
FOR EACH ROW
WHEN (OLD.status = 'cancelled' AND NEW.status IS DISTINCT FROM 'pending')
EXECUTE FUNCTION teamcache_gateway.keep_cancelled();

-- step: function notify_job
-- unless: EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure('teamcache_gateway.notify_job()') AND prosrc LIKE '%submittedBy%')
-- Ids, names that are bounded, the state and counters only: a payload over 8,000 bytes would abort the
-- very UPDATE. An older one of ours did not tell who submitted the job.
CREATE OR REPLACE FUNCTION teamcache_gateway.notify_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('teamcache_gateway_jobs', json_build_object(
        'id', NEW.id,
        'status', NEW.status,
        'previousStatus', CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END,
        'totalFiles', NEW.total_files,
        'completedFiles', NEW.completed_files,
        'failedFiles', NEW.failed_files,
        'totalBytes', NEW.total_size_bytes,
        'completedBytes', NEW.completed_size_bytes,
        'failedBytes', NEW.failed_size_bytes,
        'submittedBy', left(NEW.submitted_by, 500)
    )::text);
    RETURN NULL;
END
$$;

-- step: trigger teamcache_gateway_notify_insert
-- unless: EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('cache_jobs') AND tgname = 'teamcache_gateway_notify_insert')
CREATE TRIGGER teamcache_gateway_notify_insert
AFTER INSERT ON cache_jobs
FOR EACH ROW
EXECUTE FUNCTION teamcache_gateway.notify_job();

-- step: trigger teamcache_gateway_notify_update
-- unless: EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('cache_jobs') AND tgname = 'teamcache_gateway_notify_update')
-- The columns are named: comparing whole rows would read the long path lists each time.
CREATE TRIGGER teamcache_gateway_notify_update
AFTER UPDATE ON cache_jobs
FOR EACH ROW
WHEN (
    OLD.status IS DISTINCT FROM NEW.status
    OR OLD.completed_files IS DISTINCT FROM NEW.completed_files
    OR OLD.failed_files IS DISTINCT FROM NEW.failed_files
    OR OLD.completed_size_bytes IS DISTINCT FROM NEW.completed_size_bytes
)
EXECUTE FUNCTION teamcache_gateway.notify_job();
