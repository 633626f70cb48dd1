-- Jobs that have ended and whose files are not yet marked as cached, should their worker be killed.

-- step: table of unmarked jobs
-- unless: to_regclass('teamcache_gateway.unmarked_jobs') IS NOT NULL
CREATE TABLE teamcache_gateway.unmarked_jobs (
    job_id uuid PRIMARY KEY,
    ended_at timestamptz NOT NULL DEFAULT now()
);
