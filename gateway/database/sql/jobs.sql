-- Look-ups of many rows are written with OFFSET 0, see paths.sql.

-- name: create
-- One statement: the job and its items become visible together, and every count is of one
-- snapshot. 'maybe' are listed files that the index did not know when we asked, inside a listed
-- directory: if it knows them by now, the directory already holds them.
WITH wanted AS (
    SELECT inside.path, coalesce(inside.size, 0) AS size
    FROM unnest(%(trees)s::text[]) AS listed (path),
         LATERAL (SELECT path, size FROM files
                  WHERE path ~>=~ (listed.path || '/') AND path ~<~ (listed.path || '0')
                    AND is_directory IS NOT TRUE
                  OFFSET 0) AS inside
    UNION ALL
    SELECT inside.path, coalesce(inside.size, 0)
    FROM unnest(%(folders)s::text[]) AS listed (path),
         LATERAL (SELECT path, size FROM files
                  WHERE parent_path = listed.path AND is_directory IS NOT TRUE
                  OFFSET 0) AS inside
    UNION ALL
    SELECT path, size
    FROM unnest(%(paths)s::text[], %(sizes)s::bigint[]) AS listed (path, size)
    UNION ALL
    SELECT path, size
    FROM unnest(%(maybe_paths)s::text[], %(maybe_sizes)s::bigint[]) AS maybe (path, size)
    WHERE NOT EXISTS (SELECT FROM files f
                      WHERE f.path = maybe.path AND f.is_directory IS NOT TRUE
                      OFFSET 0)
),
items AS (
    INSERT INTO cache_job_items (job_id, file_path, status, file_size_bytes)
    SELECT %(id)s::uuid, path, 'pending', size FROM wanted
    RETURNING file_size_bytes
)
INSERT INTO cache_jobs (
    id, status, file_paths, directory_paths, created_at,
    total_files, completed_files, failed_files,
    total_size_bytes, completed_size_bytes, failed_size_bytes, submitted_by
)
SELECT %(id)s::uuid, 'pending', %(file_paths)s::text[], %(directory_paths)s::text[],
       now() AT TIME ZONE 'UTC', count(*), 0, 0, coalesce(sum(file_size_bytes), 0), 0, 0,
       %(submitted_by)s
FROM items
HAVING count(*) > 0
RETURNING id::text, status, total_files, total_size_bytes, created_at

-- name: get
SELECT id::text, status, total_files, completed_files, failed_files,
       total_size_bytes, completed_size_bytes, failed_size_bytes,
       created_at, started_at, completed_at, error_message, worker_id, submitted_by
FROM cache_jobs
WHERE id = %(id)s::uuid

-- name: list
SELECT id::text, status, total_files, completed_files, failed_files,
       total_size_bytes, completed_size_bytes, failed_size_bytes,
       created_at, started_at, completed_at, error_message, worker_id, submitted_by
FROM cache_jobs
WHERE (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: page
-- In one row and one turn: lists are asked for far more often than their jobs change, and these are
-- remembered by version. Each writing of a row leaves another xmin on it, its transaction's number.
SELECT (SELECT string_agg(id || ' ' || xmin, ',' ORDER BY created_at DESC, id DESC)
        FROM (SELECT id, xmin, created_at
              FROM cache_jobs
              WHERE (%(status)s::text IS NULL OR status = %(status)s)
                AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)
              ORDER BY created_at DESC, id DESC
              LIMIT %(limit)s OFFSET %(offset)s) AS page) AS versions,
       (SELECT count(*)
        FROM cache_jobs
        WHERE (%(status)s::text IS NULL OR status = %(status)s)
          AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)) AS total

-- name: read
SELECT id::text, status, total_files, completed_files, failed_files,
       total_size_bytes, completed_size_bytes, failed_size_bytes,
       created_at, started_at, completed_at, error_message, worker_id, submitted_by,
       id || ' ' || xmin AS version
FROM cache_jobs
WHERE id = ANY(%(ids)s::uuid[])

-- name: count_by_status
SELECT status, count(*) AS total FROM cache_jobs GROUP BY status

-- name: sum_item_sizes
SELECT coalesce(sum(file_size_bytes) FILTER (WHERE status = 'completed'), 0)
       + coalesce(sum(bytes_read) FILTER (WHERE status IN ('pending', 'running')), 0)
           AS completed_bytes,
       coalesce(sum(file_size_bytes) FILTER (WHERE status = 'failed'), 0) AS failed_bytes
FROM cache_job_items
WHERE job_id = %(id)s::uuid

-- name: cancel
UPDATE cache_jobs
SET status = 'cancelled', completed_at = now() AT TIME ZONE 'UTC'
WHERE id = %(id)s::uuid AND status IN ('pending', 'running', 'paused')
  AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)
RETURNING id

-- name: status
SELECT status
FROM cache_jobs
WHERE id = %(id)s::uuid AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)

-- name: cancelled_with_pending_items
SELECT j.id::text
FROM cache_jobs j
WHERE j.status = 'cancelled'
  AND EXISTS (SELECT FROM cache_job_items i WHERE i.job_id = j.id AND i.status = 'pending'
              OFFSET 0)

-- name: cancel_items
-- A batch at a time, so that no lock is held for long on a job of a million files.
WITH batch AS (
    SELECT i.id
    FROM cache_job_items i
    JOIN cache_jobs j ON j.id = i.job_id AND j.status = 'cancelled'
    WHERE i.job_id = %(id)s::uuid AND i.status = 'pending'
    ORDER BY i.id
    LIMIT %(limit)s
    FOR UPDATE OF i SKIP LOCKED
)
UPDATE cache_job_items i
SET status = 'cancelled', completed_at = now() AT TIME ZONE 'UTC'
FROM batch
WHERE i.id = batch.id

-- name: recent
-- All that have not ended, and those that ended last.
SELECT id::text, status, total_files, completed_files, failed_files,
       total_size_bytes, completed_size_bytes, failed_size_bytes,
       created_at, started_at, completed_at, error_message, worker_id, submitted_by
FROM cache_jobs
WHERE status IN ('pending', 'running', 'paused')
UNION ALL
(SELECT id::text, status, total_files, completed_files, failed_files,
        total_size_bytes, completed_size_bytes, failed_size_bytes,
        created_at, started_at, completed_at, error_message, worker_id, submitted_by
 FROM cache_jobs
 WHERE status IN ('completed', 'failed', 'cancelled')
 ORDER BY completed_at DESC NULLS LAST
 LIMIT %(limit)s)

-- name: files_by_id
SELECT file_path AS path,
       coalesce(file_size_bytes, 0) AS size,
       CASE WHEN status = 'failed' THEN coalesce(error_message, 'Failed') END AS error
FROM cache_job_items
WHERE id = ANY(%(items)s::bigint[]) AND status IN ('completed', 'failed')
ORDER BY id
