-- name: set_patience
SELECT set_config('statement_timeout', '0', false),
       set_config('lock_timeout', %(lock_timeout)s, false)

-- name: try_lock
SELECT pg_try_advisory_lock(hashtext('teamcache_gateway.migrations')) AS locked

-- name: records
-- Read from the catalogs: without USAGE on the schema, to_regclass fails instead of saying no.
SELECT c.oid IS NOT NULL AS found,
       coalesce(has_schema_privilege(n.oid, 'USAGE'), true)
       AND coalesce(has_table_privilege(c.oid, 'SELECT'), true) AS readable
FROM (VALUES (1)) AS one
LEFT JOIN pg_namespace n ON n.nspname = 'teamcache_gateway'
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'migrations'

-- name: applied
SELECT name FROM teamcache_gateway.migrations

-- name: record
INSERT INTO teamcache_gateway.migrations (name) VALUES (%(name)s) ON CONFLICT DO NOTHING

-- name: obstacles
-- Why our role cannot make what is missing.
SELECT 'the table ' || relname || ' belongs to the role ' || pg_get_userbyid(relowner) AS reason
FROM pg_class
WHERE oid IN (to_regclass('files'), to_regclass('cache_jobs'), to_regclass('cache_job_items'))
  AND NOT pg_has_role(relowner, 'USAGE')
UNION ALL
SELECT 'it may not create anything in the schema ' || nspname
FROM pg_namespace
WHERE nspname IN ('teamcache_gateway', current_schema())
  AND NOT has_schema_privilege(oid, 'CREATE')
UNION ALL
SELECT 'it may not create a schema in the database ' || current_database()
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'teamcache_gateway')
  AND NOT has_database_privilege(current_database(), 'CREATE')

-- name: role_exists
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s) AS found

-- name: missing_rights
-- Each right that a role lacks, as the statement that grants it. What is not there yet counts too.
SELECT format('GRANT %%s ON %%s TO %%I;', rights, object, %(role)s) AS statement
FROM (VALUES
    ('SELECT, INSERT, UPDATE, DELETE', 'files', 'files'),
    ('SELECT, INSERT, UPDATE', 'cache_jobs', 'cache_jobs'),
    ('SELECT, INSERT, UPDATE', 'cache_job_items', 'cache_job_items'),
    ('SELECT, INSERT, UPDATE, DELETE', 'teamcache_gateway.workers', 'workers'),
    ('SELECT, INSERT, UPDATE, DELETE', 'teamcache_gateway.throttle', 'throttle'),
    ('SELECT, INSERT, UPDATE, DELETE', 'teamcache_gateway.idempotency_keys', 'idempotency_keys'),
    ('SELECT, INSERT, UPDATE, DELETE', 'teamcache_gateway.unmarked_jobs', 'unmarked_jobs'),
    ('SELECT', 'teamcache_gateway.migrations', 'migrations'),
    ('SELECT, INSERT, UPDATE', 'teamcache_gateway.api_keys', 'api_keys')
) AS needed (rights, object, name)
LEFT JOIN LATERAL (
    SELECT c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = name
      AND CASE WHEN object = name THEN pg_table_is_visible(c.oid)
               ELSE n.nspname = 'teamcache_gateway' END
) AS there ON true
WHERE NOT coalesce(
    (SELECT bool_and(has_table_privilege(%(role)s, there.oid, one))
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
