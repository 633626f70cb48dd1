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
-- A statement of its own, before the one that looks for their items: a claim under way holds its
-- worker's row, and a statement that began before it has ended does not see what it claims.
SELECT id
FROM teamcache_gateway.workers
WHERE id <> %(worker)s AND (%(everybody)s OR expires_at < now())
FOR UPDATE SKIP LOCKED

-- name: reclaim
-- What these workers hold, without the items in flight. The backend's workers have no lease, so
-- their items are never reclaimed.
UPDATE cache_job_items i
SET status = CASE WHEN j.status = 'cancelled' THEN 'cancelled' ELSE 'pending' END,
    completed_at = CASE WHEN j.status = 'cancelled' THEN now() AT TIME ZONE 'UTC' END,
    worker_id = NULL,
    started_at = NULL
FROM cache_jobs j
WHERE i.worker_id = ANY(%(workers)s::text[]) AND i.status = 'running' AND j.id = i.job_id
  AND NOT EXISTS (SELECT FROM unnest(%(in_flight)s::bigint[]) AS in_flight (id)
                  WHERE in_flight.id = i.id)

-- name: end_leases
DELETE FROM teamcache_gateway.workers WHERE id = ANY(%(workers)s::text[])

-- name: active_jobs
-- Only jobs with something to claim: jobs that wait for their last files (a backend's worker may
-- have died on them) keep no newer job from its turn, however many there are. The subquery is
-- scalar so that it is answered per job from the index of states, whatever the statistics say.
SELECT j.id::text
FROM cache_jobs j
WHERE j.status IN ('pending', 'running')
  AND j.id <> ALL(%(excluded)s::uuid[])
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'pending' LIMIT 1)
ORDER BY j.created_at, j.id
LIMIT %(limit)s

-- name: claim
-- Any of the job's items, or some by their ids. The lock keeps the lease's row from being removed:
-- nothing is claimed for a worker that was given up for dead.
-- The bounds are rows and are in the order of the index of states, so that only this index is used:
-- the primary key would lead past all items that are done, and past those of every older job.
WITH lease AS (
    SELECT id FROM teamcache_gateway.workers
    WHERE id = %(worker)s AND expires_at > now()
    FOR KEY SHARE
),
batch AS (
    SELECT i.id
    FROM cache_job_items i
    WHERE (i.job_id, i.status, i.id) >= (%(job)s::uuid, 'pending', 0)
      AND (i.job_id, i.status, i.id) <= (%(job)s::uuid, 'pending', 9223372036854775807)
      AND EXISTS (SELECT FROM lease)
      AND (%(items)s::bigint[] IS NULL OR i.id = ANY(%(items)s::bigint[]))
      AND EXISTS (SELECT FROM cache_jobs j
                  WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running'))
    ORDER BY i.job_id, i.status, i.id
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
    RETURNING id
),
unmarked AS (
    INSERT INTO teamcache_gateway.unmarked_jobs (job_id) SELECT id FROM started
    ON CONFLICT DO NOTHING
)
-- Arrays: a row for each item costs the client more than the item.
SELECT array_agg(id ORDER BY id) AS items,
       array_agg(file_path ORDER BY id) AS paths,
       array_agg(size ORDER BY id) AS sizes,
       array_agg(bytes_read ORDER BY id) AS reported_bytes
FROM claimed

-- name: pending_below
-- The next pending items of a job whose paths begin with a prefix, and where the search ended. It is
-- bounded: there may be a million others before the first match.
WITH passed AS MATERIALIZED (
    SELECT i.id, i.file_path
    FROM cache_job_items i
    WHERE (i.job_id, i.status, i.id) > (%(job)s::uuid, 'pending', %(after)s)
      AND (i.job_id, i.status, i.id) <= (%(job)s::uuid, 'pending', 9223372036854775807)
    ORDER BY i.job_id, i.status, i.id
    LIMIT %(window)s
),
found AS (
    SELECT id FROM passed WHERE file_path ^@ ANY(%(prefixes)s::text[]) ORDER BY id LIMIT %(limit)s
)
SELECT (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM found) AS items,
       (SELECT max(id) FROM passed) AS last,
       (SELECT count(*) FROM passed) AS passed

-- name: stopped_jobs
-- Those of the jobs whose files a worker must no longer read; a job that was deleted is one of them.
SELECT given.id
FROM unnest(%(jobs)s::text[]) AS given (id)
LEFT JOIN cache_jobs j ON j.id = given.id::uuid
WHERE j.id IS NULL OR j.status IN ('cancelled', 'completed', 'failed')

-- name: report
-- An item counts once: only while it is running and held by this worker. The same statement moves
-- the job's counters, by what really changed: a report whose answer was lost comes a second time.
-- The last file to end also ends the job.
WITH job AS MATERIALIZED (
    -- Locked before its items: what ends after a cancel is cancelled, as the counters have it.
    SELECT status FROM cache_jobs WHERE id = %(job)s::uuid FOR NO KEY UPDATE
),
reported AS (
    SELECT id, nullif(error, '') AS error, bytes,
           CASE WHEN status <> 'running' AND (SELECT status FROM job) = 'cancelled'
                THEN 'cancelled' ELSE status END AS status
    FROM unnest(%(items)s::bigint[], %(states)s::text[], %(errors)s::text[],
                %(reported_bytes)s::bigint[])
         AS r (id, status, error, bytes)
),
held AS (
    -- Looked up by their ids: by their worker, each report would look through all that it holds.
    -- With coalesce the planner expects half of the rows, whatever the statistics say of a state. If
    -- it expected one row, it would compare each item with each.
    SELECT i.id, coalesce(i.bytes_read, 0) AS bytes, coalesce(i.file_size_bytes, 0) AS size
    FROM cache_job_items i
    WHERE i.id = ANY(%(items)s::bigint[])
      AND coalesce(i.status = 'running' AND i.worker_id = %(worker)s, false)
      AND EXISTS (SELECT FROM job)
    ORDER BY i.id
    FOR UPDATE OF i
),
touched AS (
    UPDATE cache_job_items i
    SET status = r.status,
        error_message = r.error,
        bytes_read = CASE r.status
            WHEN 'completed' THEN h.size
            WHEN 'running' THEN greatest(h.bytes, least(r.bytes, h.size))
            WHEN 'failed' THEN 0
            ELSE h.bytes END,
        completed_at = CASE WHEN r.status = 'running' THEN NULL
                            ELSE now() AT TIME ZONE 'UTC' END
    FROM held h
    JOIN reported r ON r.id = h.id
    WHERE i.id = h.id
    RETURNING i.id,
              i.file_path,
              r.error,
              r.status,
              i.bytes_read - h.bytes AS completed_bytes,
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
    -- A notification is shorter than 8,000 bytes, an id has at most 19 digits.
    SELECT id, (row_number() OVER (ORDER BY id) - 1) / 350 AS batch
    FROM touched
    WHERE status IN ('completed', 'failed')
),
announced AS (
    -- Only ids, once per report: a gateway looks the files up if a client subscribed to them.
    SELECT pg_notify('teamcache_gateway_files',
                     json_build_object('jobId', %(job)s, 'items', json_agg(id ORDER BY id))::text)
    FROM ended
    GROUP BY batch
),
others AS MATERIALIZED (
    (SELECT id FROM cache_job_items
     WHERE job_id = %(job)s::uuid AND status = 'pending'
     LIMIT 1)
    UNION ALL
    (SELECT id FROM cache_job_items
     WHERE job_id = %(job)s::uuid AND status = 'running' AND id NOT IN (SELECT id FROM ended)
     LIMIT 1)
),
first_failed AS (
    -- The statement does not see its own updates in the table.
    SELECT concat_ws(': ', file_path, error_message) AS reason
    FROM (
        (SELECT id, file_path, error_message
         FROM cache_job_items
         WHERE job_id = %(job)s::uuid AND status = 'failed'
         ORDER BY id
         LIMIT 1)
        UNION ALL
        (SELECT id, file_path, error FROM touched WHERE status = 'failed' ORDER BY id LIMIT 1)
    ) AS candidates
    ORDER BY id
    LIMIT 1
),
moved AS (
    UPDATE cache_jobs j
    SET completed_files = coalesce(j.completed_files, 0) + t.completed_files,
        failed_files = coalesce(j.failed_files, 0) + t.failed_files,
        completed_size_bytes = coalesce(j.completed_size_bytes, 0) + t.completed_bytes,
        failed_size_bytes = coalesce(j.failed_size_bytes, 0) + t.failed_bytes,
        (status, completed_at, error_message) = (
            SELECT CASE WHEN NOT is_over THEN j.status
                        WHEN completed > 0 THEN 'completed'
                        ELSE 'failed' END,
                   CASE WHEN is_over THEN now() AT TIME ZONE 'UTC' END,
                   CASE WHEN NOT is_over OR failed = 0 THEN j.error_message
                        ELSE format('%%s of %%s files failed', failed,
                                    CASE WHEN j.total_files > 0 THEN j.total_files
                                         ELSE completed + failed END)
                             || coalesce((SELECT ', the first: ' || reason FROM first_failed), '') END
            FROM (SELECT completed, failed,
                         CASE WHEN j.total_files > 0 THEN completed + failed >= j.total_files
                              -- Its files were never counted: look for others.
                              ELSE NOT EXISTS (SELECT FROM others) END AS is_over
                  FROM (SELECT coalesce(j.completed_files, 0) + t.completed_files AS completed,
                               coalesce(j.failed_files, 0) + t.failed_files AS failed) AS sums
                  OFFSET 0) AS ends)
    FROM tally t
    WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running', 'paused')
    RETURNING j.id, j.status
),
unmarked AS (
    INSERT INTO teamcache_gateway.unmarked_jobs (job_id)
    SELECT id FROM moved WHERE status IN ('completed', 'failed')
    ON CONFLICT DO NOTHING
)
SELECT status, (SELECT count(*) FROM announced) AS announcements FROM moved

-- name: drained_jobs
-- Jobs that should have ended: they have items, and none is left to claim or to read. A job with
-- fewer items than files may still get more: it counts once nothing has happened to it for a while.
-- A job that has not begun and has no items is still being made.
SELECT j.id::text
FROM cache_jobs j
WHERE j.status IN ('pending', 'running')
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'pending' LIMIT 1) IS NULL
  AND (SELECT true FROM cache_job_items i
       WHERE i.job_id = j.id AND i.status = 'running' LIMIT 1) IS NULL
  AND (SELECT CASE WHEN count(*) = 0 AND j.status = 'pending' THEN false
                   ELSE count(*) >= coalesce(j.total_files, 0) AND count(*) > 0
                        OR coalesce(max(i.completed_at), j.started_at, j.created_at)
                           < now() AT TIME ZONE 'UTC' - %(quiet)s * interval '1 second' END
       FROM cache_job_items i
       WHERE i.job_id = j.id)
ORDER BY j.created_at, j.id
LIMIT %(limit)s

-- name: finish_drained_job
-- A running job with nothing left to read has wrong counters (another worker wrote them, or items
-- were deleted). They are counted again, and the job ends.
WITH counted AS (
    SELECT count(*) FILTER (WHERE status = 'completed') AS completed_files,
           count(*) FILTER (WHERE status IN ('failed', 'cancelled')) AS failed_files,
           coalesce(sum(file_size_bytes) FILTER (WHERE status = 'completed'), 0) AS completed_bytes,
           coalesce(sum(file_size_bytes) FILTER (WHERE status IN ('failed', 'cancelled')), 0)
               AS failed_bytes
    FROM cache_job_items
    WHERE job_id = %(job)s::uuid
),
first_failed AS (
    SELECT concat_ws(': ', file_path, error_message) AS reason
    FROM cache_job_items
    WHERE job_id = %(job)s::uuid AND status = 'failed'
    ORDER BY id
    LIMIT 1
),
ended AS (
    UPDATE cache_jobs j
    SET completed_files = c.completed_files,
        failed_files = c.failed_files,
        total_files = c.completed_files + c.failed_files,
        completed_size_bytes = c.completed_bytes,
        failed_size_bytes = c.failed_bytes,
        status = CASE WHEN c.completed_files > 0 THEN 'completed' ELSE 'failed' END,
        completed_at = now() AT TIME ZONE 'UTC',
        error_message = CASE
            WHEN c.completed_files + c.failed_files = 0 THEN 'None of its files is left'
            WHEN c.failed_files > 0
            THEN format('%%s of %%s files failed', c.failed_files, c.completed_files + c.failed_files)
                 || coalesce((SELECT ', the first: ' || reason FROM first_failed), '')
            END
    FROM counted c
    WHERE j.id = %(job)s::uuid AND j.status IN ('pending', 'running')
      AND (j.status = 'running' OR c.completed_files + c.failed_files > 0)
      AND NOT EXISTS (SELECT FROM cache_job_items i
                      WHERE i.job_id = %(job)s::uuid AND i.status IN ('pending', 'running'))
    RETURNING j.id
),
unmarked AS (
    INSERT INTO teamcache_gateway.unmarked_jobs (job_id) SELECT id FROM ended
    ON CONFLICT DO NOTHING
)
SELECT id FROM ended
