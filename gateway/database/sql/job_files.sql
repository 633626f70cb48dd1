-- name: counters
SELECT total_files, completed_files, failed_files
FROM cache_jobs
WHERE id = %(job)s::uuid AND (%(submitted_by)s::text IS NULL OR submitted_by = %(submitted_by)s)

-- name: page
-- Of the two branches one is planned. Files of every state are read along the primary key, from the
-- job's first file to its last: what was submitted at once lies together. Where one state is asked
-- for, the bounds are rows and stand in the order, so that only the index of states can be walked:
-- the primary key would lead past the files of all other states.
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
    (SELECT id
     FROM cache_job_items
     WHERE %(status)s::text IS NULL
       AND job_id = %(job)s::uuid
       AND id >= (SELECT min(ends.id)
                  FROM unnest(%(states)s::text[]) AS state,
                       LATERAL (SELECT id FROM cache_job_items
                                WHERE (job_id, status, id) >= (%(job)s::uuid, state, 0)
                                  AND (job_id, status, id) <= (%(job)s::uuid, state, %(last)s)
                                ORDER BY job_id, status, id
                                LIMIT 1) AS ends)
       AND id <= (SELECT max(ends.id)
                  FROM unnest(%(states)s::text[]) AS state,
                       LATERAL (SELECT id FROM cache_job_items
                                WHERE (job_id, status, id) >= (%(job)s::uuid, state, 0)
                                  AND (job_id, status, id) <= (%(job)s::uuid, state, %(last)s)
                                ORDER BY job_id DESC, status DESC, id DESC
                                LIMIT 1) AS ends)
     ORDER BY id
     LIMIT %(limit)s OFFSET %(offset)s)
    UNION ALL
    (SELECT id
     FROM cache_job_items
     WHERE %(status)s::text IS NOT NULL
       AND (job_id, status, id) >= (%(job)s::uuid, %(status)s::text, 0)
       AND (job_id, status, id) <= (%(job)s::uuid, %(status)s::text, %(last)s)
     ORDER BY job_id, status, id
     LIMIT %(limit)s OFFSET %(offset)s)
) AS page
CROSS JOIN LATERAL (SELECT * FROM cache_job_items WHERE id = page.id OFFSET 0) AS i
ORDER BY page.id

-- name: count
SELECT count(*) AS total
FROM cache_job_items
WHERE job_id = %(job)s::uuid AND (%(status)s::text IS NULL OR status = %(status)s)
