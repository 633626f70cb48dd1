-- name: take_lease
INSERT INTO teamcache_gateway.workers (id, expires_at)
VALUES (%(worker)s, now() + %(lease)s * interval '1 second')

-- name: renew_lease
UPDATE teamcache_gateway.workers
SET expires_at = now() + %(lease)s * interval '1 second'
WHERE id = %(worker)s

-- name: lock_own_lease
SELECT id FROM teamcache_gateway.workers WHERE id = %(worker)s FOR UPDATE

-- name: lock_expired_leases
-- Locked before anybody looks for their items, by a statement of its own: a claim under way holds
-- its worker's row, and what it claims is not to be seen by a statement that began before.
SELECT id
FROM teamcache_gateway.workers
WHERE id <> %(worker)s AND (%(everybody)s OR expires_at < now())
FOR UPDATE SKIP LOCKED

-- name: give_back
-- Only what workers of ours leased: the backend's workers have no row among the leases.
UPDATE cache_job_items i
SET status = CASE WHEN j.status = 'cancelled' THEN 'cancelled' ELSE 'pending' END,
    completed_at = CASE WHEN j.status = 'cancelled' THEN now() AT TIME ZONE 'UTC' END,
    worker_id = NULL,
    started_at = NULL
FROM cache_jobs j
WHERE i.worker_id = ANY(%(workers)s::text[]) AND i.status = 'running' AND j.id = i.job_id

-- name: end_leases
DELETE FROM teamcache_gateway.workers WHERE id = ANY(%(workers)s::text[])

-- name: give_back_strays
-- What is claimed in our name and we know nothing of: the answer to the claim was lost.
UPDATE cache_job_items i
SET status = CASE WHEN j.status = 'cancelled' THEN 'cancelled' ELSE 'pending' END,
    completed_at = CASE WHEN j.status = 'cancelled' THEN now() AT TIME ZONE 'UTC' END,
    worker_id = NULL,
    started_at = NULL
FROM cache_jobs j
WHERE i.worker_id = %(worker)s AND i.status = 'running' AND j.id = i.job_id
  AND NOT EXISTS (SELECT FROM unnest(%(known)s::bigint[]) AS known (id) WHERE known.id = i.id)

-- name: active_jobs
-- Only jobs with something to claim: however many others wait for their last files (a backend's
-- worker may have died on them), they keep no newer job from its turn. The subquery is a scalar
-- one so that it is answered per job from the index of pending items, whatever the statistics.
SELECT j.id::text
FROM cache_jobs j
WHERE j.status IN ('pending', 'running')
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'pending' LIMIT 1)
ORDER BY j.created_at, j.id
LIMIT %(limit)s

-- name: claim
-- The lease's row is locked against its removal: nothing is claimed for a worker given up for dead.
WITH lease AS (
    SELECT id FROM teamcache_gateway.workers
    WHERE id = %(worker)s AND expires_at > now()
    FOR KEY SHARE
),
batch AS (
    SELECT i.id
    FROM cache_job_items i
    WHERE i.job_id = %(job)s::uuid AND i.status = 'pending' AND EXISTS (SELECT FROM lease)
      AND EXISTS (SELECT FROM cache_jobs j
                  WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running'))
    ORDER BY i.id
    LIMIT %(limit)s
    FOR UPDATE OF i SKIP LOCKED
),
claimed AS (
    UPDATE cache_job_items i
    SET status = 'running', worker_id = %(worker)s, started_at = now() AT TIME ZONE 'UTC'
    FROM batch
    WHERE i.id = batch.id
    RETURNING i.id, i.file_path, coalesce(i.file_size_bytes, 0) AS size,
              coalesce(i.bytes_read, 0) AS bytes_read
),
started AS (
    UPDATE cache_jobs
    SET status = 'running',
        worker_id = %(worker)s,
        started_at = coalesce(started_at, now() AT TIME ZONE 'UTC')
    WHERE id = %(job)s::uuid AND status = 'pending' AND EXISTS (SELECT FROM claimed)
)
SELECT id, file_path, size, bytes_read FROM claimed ORDER BY id

-- name: stopped_jobs
-- Which of these jobs our worker must stop reading for; one that was deleted counts too.
SELECT asked.id
FROM unnest(%(jobs)s::text[]) AS asked (id)
LEFT JOIN cache_jobs j ON j.id = asked.id::uuid
WHERE j.id IS NULL OR j.status IN ('cancelled', 'completed', 'failed')

-- name: report
-- An item counts once: only while it is running, and ours. The job's counters move in the same
-- statement, by what really changed (not by what the worker thinks: a report whose answer was
-- lost comes a second time); the last file to end also ends the job.
WITH reported AS (
    SELECT *
    FROM unnest(%(items)s::bigint[], %(states)s::text[], %(errors)s::text[], %(marks)s::bigint[])
         AS r (id, status, error, mark)
),
held AS (
    SELECT i.id, coalesce(i.bytes_read, 0) AS mark, coalesce(i.file_size_bytes, 0) AS size
    FROM cache_job_items i
    JOIN reported r ON r.id = i.id
    WHERE i.worker_id = %(worker)s AND i.status = 'running'
    ORDER BY i.id
    FOR UPDATE OF i
),
touched AS (
    UPDATE cache_job_items i
    SET status = r.status,
        error_message = r.error,
        bytes_read = CASE r.status
            WHEN 'completed' THEN h.size
            WHEN 'running' THEN greatest(h.mark, least(r.mark, h.size))
            WHEN 'failed' THEN 0
            ELSE h.mark END,
        completed_at = CASE WHEN r.status = 'running' THEN NULL
                            ELSE now() AT TIME ZONE 'UTC' END
    FROM held h
    JOIN reported r ON r.id = h.id
    WHERE i.id = h.id
    RETURNING i.id,
              r.status,
              i.bytes_read - h.mark AS completed_bytes,
              CASE r.status WHEN 'failed' THEN h.size ELSE 0 END AS failed_bytes
),
tally AS (
    SELECT count(*) FILTER (WHERE status = 'completed') AS completed_files,
           count(*) FILTER (WHERE status = 'failed') AS failed_files,
           coalesce(sum(completed_bytes), 0) AS completed_bytes,
           coalesce(sum(failed_bytes), 0) AS failed_bytes
    FROM touched
),
ended AS (
    -- A notification holds less than 8,000 bytes, an id has at most 19 digits.
    SELECT id, (row_number() OVER (ORDER BY id) - 1) / 350 AS batch
    FROM touched
    WHERE status IN ('completed', 'failed')
),
announced AS (
    -- Ids only, once a report: a gateway looks the files up if somebody wants to know of them.
    SELECT pg_notify('teamcache_gateway_files',
                     json_build_object('jobId', %(job)s, 'items', json_agg(id ORDER BY id))::text)
    FROM ended
    GROUP BY batch
)
UPDATE cache_jobs j
SET completed_files = j.completed_files + t.completed_files,
    failed_files = j.failed_files + t.failed_files,
    completed_size_bytes = coalesce(j.completed_size_bytes, 0) + t.completed_bytes,
    failed_size_bytes = coalesce(j.failed_size_bytes, 0) + t.failed_bytes,
    status = CASE
        WHEN j.completed_files + t.completed_files + j.failed_files + t.failed_files
             < j.total_files THEN j.status
        WHEN j.completed_files + t.completed_files > 0 THEN 'completed'
        ELSE 'failed' END,
    completed_at = CASE
        WHEN j.completed_files + t.completed_files + j.failed_files + t.failed_files
             >= j.total_files THEN now() AT TIME ZONE 'UTC' END,
    error_message = CASE
        WHEN j.completed_files + t.completed_files + j.failed_files + t.failed_files
             < j.total_files OR j.failed_files + t.failed_files = 0 THEN j.error_message
        ELSE format('%%s of %%s files failed', j.failed_files + t.failed_files, j.total_files) END
FROM tally t
WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running', 'paused')
RETURNING j.status, (SELECT count(*) FROM announced) AS announcements

-- name: exhausted_jobs
-- Jobs that should have ended: nothing of them is left to claim or to read.
SELECT j.id::text
FROM cache_jobs j
WHERE j.status IN ('pending', 'running')
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'pending' LIMIT 1) IS NULL
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'running' LIMIT 1) IS NULL
ORDER BY j.created_at, j.id
LIMIT %(limit)s

-- name: end_exhausted_job
-- A job that is running with nothing left to run: its counters went astray (another worker wrote
-- them, or its items were deleted). They are counted anew, and the job ends.
WITH counted AS (
    SELECT count(*) FILTER (WHERE status = 'completed') AS completed_files,
           count(*) FILTER (WHERE status IN ('failed', 'cancelled')) AS failed_files,
           coalesce(sum(file_size_bytes) FILTER (WHERE status = 'completed'), 0) AS completed_bytes,
           coalesce(sum(file_size_bytes) FILTER (WHERE status IN ('failed', 'cancelled')), 0)
               AS failed_bytes
    FROM cache_job_items
    WHERE job_id = %(job)s::uuid
)
UPDATE cache_jobs j
SET completed_files = c.completed_files,
    failed_files = c.failed_files,
    total_files = c.completed_files + c.failed_files,
    completed_size_bytes = c.completed_bytes,
    failed_size_bytes = c.failed_bytes,
    status = CASE WHEN c.completed_files > 0 THEN 'completed' ELSE 'failed' END,
    completed_at = now() AT TIME ZONE 'UTC',
    error_message = CASE
        WHEN c.failed_files > 0 OR c.completed_files = 0
        THEN format('%%s of %%s files failed', c.failed_files, c.completed_files + c.failed_files)
        END
FROM counted c
WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running')
  AND NOT EXISTS (SELECT FROM cache_job_items i
                  WHERE i.job_id = %(job)s::uuid AND i.status IN ('pending', 'running'))
RETURNING j.status

-- name: mark_cached
-- In the order of their paths, as everybody locks rows of this table: nobody waits in a circle.
WITH read AS (
    SELECT f.id
    FROM files f
    WHERE f.path = ANY(%(paths)s::text[])
    ORDER BY f.path
    FOR UPDATE
)
UPDATE files f
SET cached = true, cached_at = now() AT TIME ZONE 'UTC', cache_job_id = %(job)s::uuid
FROM read
WHERE f.id = read.id

-- name: parents_of_read_files
SELECT DISTINCT f.parent_path AS path
FROM cache_job_items i
JOIN files f ON f.path = i.file_path
WHERE i.job_id = %(job)s::uuid AND i.status = 'completed' AND f.parent_path IS NOT NULL

-- name: mark_cached_directories
-- Those of the directories below which no file is left uncached; returns their parents.
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
