-- Jobs that workers of ours have begun and whose files are not all marked as cached yet: what a worker
-- owes that is killed, others find here.

-- step: table of unmarked jobs
-- unless: to_regclass('teamcache_gateway.unmarked_jobs') IS NOT NULL
CREATE TABLE teamcache_gateway.unmarked_jobs (
    job_id uuid PRIMARY KEY,
    noted_at timestamptz NOT NULL DEFAULT now()
);
