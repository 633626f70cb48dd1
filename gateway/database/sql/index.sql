-- What one run of the indexer does. Rows below a folder are those of the range ~>=~ '<folder>/'
-- and ~<~ '<folder>0' ('0' follows '/'), which an index with text_pattern_ops serves in any locale.

-- name: prepare_session
-- The lock below belongs to the session: a client that is lost without a word must not keep it.
-- PostgreSQL 13 does not know idle_session_timeout; the session is idle while a slow folder is read.
SELECT set_config('statement_timeout', '0', false),
       set_config('jit', 'off', false),
       set_config('work_mem', '64MB', false),
       set_config('tcp_keepalives_idle', '15', false),
       set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false),
       (SELECT set_config('idle_session_timeout', '0', false)
        WHERE current_setting('server_version_num')::integer >= 140000)

-- name: try_lock
SELECT pg_try_advisory_lock(hashtext('teamcache_gateway.indexer'))

-- name: unlock
SELECT pg_advisory_unlock(hashtext('teamcache_gateway.indexer'))

-- name: create_tables
-- The time stays a number until here: timestamps have bounds, and Python is slow at them.
CREATE TEMPORARY TABLE index_seen (
    path text NOT NULL,
    name text NOT NULL,
    parent_path text NOT NULL,
    is_directory boolean NOT NULL,
    size bigint NOT NULL,
    modified_us bigint NOT NULL,
    permissions integer NOT NULL,
    modified_at timestamp GENERATED ALWAYS AS (
        timestamp 'epoch' + (modified_us / 1000000) * interval '1 second'
                          + (mod(modified_us, 1000000)) * interval '1 microsecond'
    ) STORED
);
CREATE TEMPORARY TABLE index_unknown (path text NOT NULL);
CREATE TEMPORARY TABLE index_stale (digest bytea NOT NULL);
CREATE TEMPORARY TABLE index_known (parent_path text, digest bytea, entries bigint NOT NULL)

-- name: knows_any
SELECT EXISTS (SELECT FROM files WHERE path ~>=~ %(first)s AND path ~<~ %(end)s)

-- name: digest_known
-- One digest for each folder, over its entries as the scan would list them: milliseconds, since
-- TeamCache Manager's own indexer stores no more; '/' between the fields, since no name holds it.
-- A row that does not fit its own path, or lacks something, spoils the digest. A crowded folder
-- gets none: string_agg is limited to 1 GB.
WITH crowded AS MATERIALIZED (
    SELECT parent_path
    FROM files
    WHERE path ~>=~ %(first)s AND path ~<~ %(end)s
    GROUP BY parent_path
    HAVING count(*) >= %(crowd)s
)
INSERT INTO index_known (parent_path, digest, entries)
SELECT f.parent_path COLLATE "C",
       CASE WHEN count(crowded.parent_path) = 0 THEN
           substr(sha256(convert_to(f.parent_path COLLATE "C" || '//' || string_agg(
               CASE WHEN f.path = f.parent_path || '/' || f.name THEN
                   coalesce(
                       f.name || CASE WHEN f.is_directory THEN '/t/0/'
                                      ELSE '/f/' || f.size || '/' END
                       || floor(date_part('epoch', f.modified_at) * 1000 + 0.0005)
                       || '/' || f.permissions || '/',
                       '//')
               ELSE '//' END,
               '' ORDER BY f.name COLLATE "C"
           ) FILTER (WHERE crowded.parent_path IS NULL), 'UTF8')), 1, 16)
       END,
       count(*)
FROM files f LEFT JOIN crowded ON crowded.parent_path = f.parent_path
WHERE f.path ~>=~ %(first)s AND f.path ~<~ %(end)s
GROUP BY f.parent_path COLLATE "C"

-- name: known_digests
SELECT digest FROM index_known WHERE digest IS NOT NULL

-- name: count_known
SELECT coalesce(sum(entries), 0)::bigint FROM index_known

-- name: copy_seen
COPY index_seen (path, name, parent_path, is_directory, size, modified_us, permissions) FROM STDIN

-- name: copy_unknown
COPY index_unknown (path) FROM STDIN

-- name: copy_stale
COPY index_stale (digest) FROM STDIN

-- name: find_changed
-- A time counts as the same while less than a millisecond apart: others truncate it or round it.
-- new_content: what has been cached of the file is not the file any more.
CREATE TEMPORARY TABLE index_changed ON COMMIT DROP AS
SELECT *
FROM (
    SELECT f.id, s.path, s.name, s.parent_path, s.is_directory, s.size, s.modified_at,
           s.permissions,
           f.is_directory <> s.is_directory
           OR NOT s.is_directory AND (f.size IS DISTINCT FROM s.size OR touched)
               AS new_content,
           touched
           OR f.permissions IS DISTINCT FROM s.permissions
           OR f.name IS DISTINCT FROM s.name
           OR f.parent_path IS DISTINCT FROM s.parent_path
               AS new_attributes
    FROM index_seen s
    JOIN files f ON f.path = s.path
    CROSS JOIN LATERAL (
        SELECT f.modified_at IS NULL
               OR f.modified_at <= s.modified_at - interval '1 millisecond'
               OR f.modified_at >= s.modified_at + interval '1 millisecond' AS touched
    ) AS compared
) AS pairs
WHERE new_content OR new_attributes

-- name: find_vanished
-- Only folders that differ from what was scanned can have lost something.
CREATE TEMPORARY TABLE index_suspect ON COMMIT DROP AS
SELECT k.parent_path
FROM index_known k
WHERE k.digest IS NULL OR EXISTS (SELECT FROM index_stale s WHERE s.digest = k.digest);
ANALYZE index_suspect;
CREATE TEMPORARY TABLE index_vanished ON COMMIT DROP AS
SELECT f.id, f.path
FROM (
    SELECT f.id, f.path FROM index_suspect k JOIN files f ON f.parent_path = k.parent_path
    UNION ALL
    SELECT f.id, f.path FROM files f
    WHERE f.parent_path IS NULL AND EXISTS (SELECT FROM index_suspect WHERE parent_path IS NULL)
) AS f
WHERE f.path ~>=~ %(first)s AND f.path ~<~ %(end)s
  AND NOT EXISTS (SELECT FROM index_seen s WHERE s.path = f.path)

-- name: spare_unknown
-- What could not be read may still be there, and everything below it.
CREATE INDEX ON index_vanished (path text_pattern_ops);
ANALYZE index_vanished;
DELETE FROM index_vanished v USING index_unknown u WHERE v.path = u.path;
DELETE FROM index_vanished v USING index_unknown u
WHERE (v.path ~>=~ (u.path || '/')) AND (v.path ~<~ (u.path || '0'))

-- name: count_vanished
SELECT count(*) FROM index_vanished

-- name: lock_rows
-- All at once and without waiting: whoever waits for one row while holding another can deadlock
-- with a worker that marks files as cached.
SELECT count(*)
FROM (
    SELECT FROM files
    WHERE id IN (SELECT id FROM index_changed UNION ALL SELECT id FROM index_vanished)
    FOR UPDATE NOWAIT
) AS locked

-- name: bound_waits
-- An insert waits for another program that inserts the same path; it must not wait for long.
SELECT set_config('lock_timeout', '500', true)

-- name: update_changed
UPDATE files f
SET name = c.name,
    parent_path = c.parent_path,
    is_directory = c.is_directory,
    size = c.size,
    modified_at = c.modified_at,
    permissions = c.permissions,
    cached = f.cached AND NOT c.new_content,
    cached_at = CASE WHEN c.new_content THEN NULL ELSE f.cached_at END,
    cache_job_id = CASE WHEN c.new_content THEN NULL ELSE f.cache_job_id END,
    updated_at = now() AT TIME ZONE 'UTC'
FROM index_changed c
WHERE f.id = c.id

-- name: delete_vanished
DELETE FROM files f USING index_vanished v WHERE f.id = v.id

-- name: insert_new
INSERT INTO files (path, name, parent_path, is_directory, size, modified_at, permissions,
                   indexed_at, updated_at)
SELECT s.path, s.name, s.parent_path, s.is_directory, s.size, s.modified_at, s.permissions,
       now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
FROM index_seen s
WHERE NOT EXISTS (SELECT FROM files f WHERE f.path = s.path)
ORDER BY s.path COLLATE "C"
ON CONFLICT (path) DO NOTHING

-- name: uncache_directories
-- A directory is cached while every file below it is: what is new or has changed is not.
WITH RECURSIVE opened (path) AS (
    SELECT folder.path
    FROM (SELECT DISTINCT parent_path AS path FROM index_seen) AS folder
    WHERE EXISTS (SELECT FROM files f
                  WHERE f.parent_path = folder.path
                    AND f.is_directory IS NOT TRUE AND f.cached IS NOT TRUE)
    UNION
    SELECT d.parent_path FROM opened JOIN files d ON d.path = opened.path
)
UPDATE files d
SET cached = false, cached_at = NULL, cache_job_id = NULL
FROM opened
WHERE d.path = opened.path AND d.is_directory AND d.cached

-- name: analyze
ANALYZE files
