-- name: keep_to_the_order
-- A page is a walk along an index, whatever the statistics say: for a while a job of a million files
-- is younger than they are, and to sort all its files would look cheap.
SELECT set_config('enable_sort', 'off', true),
       set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true)

-- name: counters
SELECT total_files, completed_files, failed_files FROM cache_jobs WHERE id = %(job)s::uuid

-- name: page
-- The bounds are rows, and the job stands in the order, so that there is but one way: along an index
-- of jobs and ids. The primary key would lead through the files of every older job. What is running
-- is little, and has an index of its own, of all jobs. Of the two branches one is planned.
SELECT i.file_path AS path,
       i.status,
       coalesce(i.file_size_bytes, 0) AS size,
       CASE WHEN i.status = 'completed'
            THEN coalesce(nullif(i.bytes_read, 0), i.file_size_bytes, 0)
            ELSE coalesce(i.bytes_read, 0)
       END AS bytes_read,
       CASE WHEN i.status <> 'pending'
            THEN extract(epoch FROM
                     CASE WHEN i.status = 'running' THEN now() AT TIME ZONE 'UTC'
                          ELSE i.completed_at END
                     - i.started_at)::float8
       END AS seconds,
       i.started_at,
       i.completed_at,
       CASE WHEN i.status = 'failed' THEN coalesce(i.error_message, 'Failed')
            ELSE i.error_message
       END AS error
FROM (
    (SELECT job_id, id
     FROM cache_job_items
     WHERE (job_id, id) >= (%(job)s::uuid, 0)
       AND (job_id, id) <= (%(job)s::uuid, 9223372036854775807)
       AND (%(status)s::text IS NULL OR status = %(status)s)
       AND %(status)s::text IS DISTINCT FROM 'running'
     ORDER BY job_id, id
     LIMIT %(limit)s OFFSET %(offset)s)
    UNION ALL
    (SELECT job_id, id
     FROM (SELECT job_id, id FROM cache_job_items
           WHERE job_id = %(job)s::uuid AND status = 'running' AND %(status)s::text = 'running'
           OFFSET 0) AS running
     ORDER BY id
     LIMIT %(limit)s OFFSET %(offset)s)
) AS page
JOIN cache_job_items i ON i.id = page.id
ORDER BY page.job_id, page.id

-- name: count
SELECT count(*) AS total
FROM cache_job_items
WHERE job_id = %(job)s::uuid AND (%(status)s::text IS NULL OR status = %(status)s)
