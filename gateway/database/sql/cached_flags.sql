-- name: bound_waits
-- What others have locked for longer (a directory's row, or the whole table) is tried again later.
SELECT set_config('lock_timeout', %(lock_timeout)s, true)

-- name: set_cached_flags
-- Locked rows are not waited for; their items are returned. A file that the indexer has found changed
-- since it was read stays unflagged, also if that happens while its row is locked.
WITH unchanged AS MATERIALIZED (
    SELECT f.id, i.id AS item
    FROM cache_job_items i
    JOIN files f ON f.path = i.file_path
    WHERE i.id = ANY(%(items)s::bigint[])
      AND (f.updated_at IS NULL OR f.updated_at <= i.completed_at)
),
free AS MATERIALIZED (
    SELECT f.id
    FROM cache_job_items i
    JOIN files f ON f.path = i.file_path
    WHERE i.id = ANY(%(items)s::bigint[])
      AND (f.updated_at IS NULL OR f.updated_at <= i.completed_at)
    ORDER BY f.path
    FOR UPDATE OF f SKIP LOCKED
),
flagged AS (
    UPDATE files f
    SET cached = true, cached_at = now() AT TIME ZONE 'UTC', cache_job_id = %(job)s::uuid
    FROM free
    WHERE f.id = free.id
)
SELECT item FROM unchanged WHERE NOT EXISTS (SELECT FROM free WHERE free.id = unchanged.id)

-- name: jobs_with_unset_flags
-- Jobs whose end was not followed up: the worker that ended them died or got no answer, or they were
-- cancelled.
SELECT u.job_id::text
FROM teamcache_gateway.unmarked_jobs u
LEFT JOIN cache_jobs j ON j.id = u.job_id
WHERE u.noted_at < now() - %(seconds)s * interval '1 second'
  AND (j.id IS NULL
       OR j.status IN ('completed', 'failed', 'cancelled')
       AND coalesce(j.completed_at AT TIME ZONE 'UTC', u.noted_at)
           < now() - %(seconds)s * interval '1 second')
ORDER BY u.noted_at
LIMIT %(limit)s

-- name: postpone_unset_flags
UPDATE teamcache_gateway.unmarked_jobs SET noted_at = now() WHERE job_id = %(job)s::uuid

-- name: clear_unset_flags
DELETE FROM teamcache_gateway.unmarked_jobs WHERE job_id = %(job)s::uuid

-- name: files_with_unset_flags
-- What a job has read and is not flagged: another worker is about to flag it, or died before it could.
-- Without files that have changed, see set_cached_flags. In the order of the index of states, as in a
-- claim: else all files of a large job would be sorted for each part.
SELECT i.id
FROM cache_job_items i
JOIN files f ON f.path = i.file_path
WHERE (i.job_id, i.status, i.id) > (%(job)s::uuid, 'completed', %(after)s)
  AND (i.job_id, i.status, i.id) <= (%(job)s::uuid, 'completed', 9223372036854775807)
  AND f.cached IS NOT TRUE
  AND (f.updated_at IS NULL OR f.updated_at <= i.completed_at)
ORDER BY i.job_id, i.status, i.id
LIMIT %(limit)s

-- name: parents_of_read_files
SELECT DISTINCT f.parent_path AS path
FROM cache_job_items i
JOIN files f ON f.path = i.file_path
WHERE i.job_id = %(job)s::uuid AND i.status = 'completed' AND f.parent_path IS NOT NULL

-- name: set_cached_directory_flags
-- Flags the directories below which every file is cached, and returns their parents.
WITH whole AS (
    SELECT d.id
    FROM files d
    WHERE d.path = ANY(%(paths)s::text[]) AND d.is_directory AND d.cached IS NOT TRUE
      AND NOT EXISTS (
          SELECT FROM files child
          WHERE child.parent_path = d.path AND child.cached IS NOT TRUE
            AND (child.is_directory IS NOT TRUE
                 OR EXISTS (SELECT FROM files inside
                            WHERE inside.path ~>=~ (child.path || '/')
                              AND inside.path ~<~ (child.path || '0')
                              AND inside.is_directory IS NOT TRUE
                              AND inside.cached IS NOT TRUE)))
    ORDER BY d.path
    FOR UPDATE
)
UPDATE files d
SET cached = true, cached_at = now() AT TIME ZONE 'UTC', cache_job_id = %(job)s::uuid
FROM whole
WHERE d.id = whole.id
RETURNING d.parent_path
