-- TeamCache Manager's tables, where it has not made them: the same names, types and checks.

-- step: table files
-- unless: to_regclass('files') IS NOT NULL
CREATE TABLE files (
    id bigserial PRIMARY KEY,
    path text NOT NULL UNIQUE,
    name text NOT NULL,
    parent_path text,
    is_directory boolean NOT NULL DEFAULT false,
    size bigint,
    modified_at timestamp,
    permissions integer,
    cached boolean NOT NULL DEFAULT false,
    cached_at timestamp,
    cache_job_id uuid,
    indexed_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    last_seen_session_id integer,
    metadata jsonb
);

-- step: table cache_jobs
-- unless: to_regclass('cache_jobs') IS NOT NULL
CREATE TABLE cache_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'paused', 'cancelled')),
    file_paths text[] NOT NULL,
    directory_paths text[],
    total_files integer NOT NULL DEFAULT 0,
    completed_files integer NOT NULL DEFAULT 0,
    failed_files integer NOT NULL DEFAULT 0,
    worker_id text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    started_at timestamp,
    completed_at timestamp,
    error_message text
);

-- step: table cache_job_items
-- unless: to_regclass('cache_job_items') IS NOT NULL
CREATE TABLE cache_job_items (
    id bigserial PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES cache_jobs (id) ON DELETE CASCADE,
    file_path text NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    started_at timestamp,
    completed_at timestamp,
    error_message text,
    worker_id text
);

-- step: view pending_cache_jobs
-- unless: to_regclass('pending_cache_jobs') IS NOT NULL
CREATE VIEW pending_cache_jobs AS
SELECT id, status, file_paths, directory_paths, total_files, completed_files, failed_files,
       worker_id, created_at, started_at, completed_at, error_message
FROM cache_jobs
WHERE status = 'pending';
