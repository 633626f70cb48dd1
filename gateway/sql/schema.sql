-- name: set_patience
SELECT set_config('statement_timeout', '0', false),
       set_config('lock_timeout', %(lock_timeout)s, false)

-- name: try_lock
SELECT pg_try_advisory_lock(hashtext('teamcache_gateway.migrations')) AS locked

-- name: has_records
SELECT to_regclass('teamcache_gateway.migrations') IS NOT NULL AS found

-- name: applied
SELECT name FROM teamcache_gateway.migrations

-- name: record
INSERT INTO teamcache_gateway.migrations (name) VALUES (%(name)s) ON CONFLICT DO NOTHING

-- name: missing_rights
-- Each right that a role lacks, as the statement that grants it. What is not there yet counts too.
SELECT format('GRANT %%s ON %%s TO %%I;', rights, object, %(role)s) AS statement
FROM (VALUES
    ('SELECT, INSERT, UPDATE, DELETE', 'files'),
    ('SELECT, INSERT, UPDATE', 'cache_jobs'),
    ('SELECT, INSERT, UPDATE', 'cache_job_items'),
    ('SELECT, INSERT, UPDATE, DELETE', 'teamcache_gateway.workers'),
    ('SELECT', 'teamcache_gateway.migrations')
) AS needed (rights, object)
WHERE NOT coalesce(
    (SELECT bool_and(has_table_privilege(%(role)s, to_regclass(object), one))
     FROM unnest(string_to_array(rights, ', ')) AS one),
    false)
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA teamcache_gateway TO %%I;', %(role)s)
WHERE NOT coalesce(
    has_schema_privilege(%(role)s, to_regnamespace('teamcache_gateway'), 'USAGE'), false)
UNION ALL
SELECT format('GRANT USAGE ON SEQUENCE %%s TO %%I;', sequence, %(role)s)
FROM (VALUES ('files'), ('cache_job_items')) AS numbered (object),
     LATERAL (SELECT CASE WHEN to_regclass(object) IS NULL THEN object || '_id_seq'
                          ELSE pg_get_serial_sequence(object, 'id') END) AS named (sequence)
WHERE sequence IS NOT NULL
  AND NOT coalesce(has_sequence_privilege(%(role)s, to_regclass(sequence), 'USAGE'), false)
