-- API keys beside the one of the settings, and what callers who see only their own jobs need.

-- step: table of API keys
-- unless: to_regclass('teamcache_gateway.api_keys') IS NOT NULL
-- Of a key only the SHA-256 digest is kept. A revoked one stays: its name must not pass to another,
-- whose holder would see its jobs. Paths stand as they were written, each gateway reads them.
CREATE TABLE teamcache_gateway.api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> 'default'),
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    scopes text[] NOT NULL,
    path_prefixes text[] NOT NULL DEFAULT '{}',
    rate_limit_per_minute integer CHECK (rate_limit_per_minute >= 0),
    poll_limit_per_minute integer CHECK (poll_limit_per_minute >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    disabled_at timestamptz,
    revoked_at timestamptz
);

-- step: function notify_keys
-- unless: to_regprocedure('teamcache_gateway.notify_keys()') IS NOT NULL
CREATE FUNCTION teamcache_gateway.notify_keys() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('teamcache_gateway_keys', '');
    RETURN NULL;
END
$$;

-- step: trigger teamcache_gateway_notify_keys
-- unless: EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('teamcache_gateway.api_keys') AND tgname = 'teamcache_gateway_notify_keys')
CREATE TRIGGER teamcache_gateway_notify_keys
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON teamcache_gateway.api_keys
FOR EACH STATEMENT
EXECUTE FUNCTION teamcache_gateway.notify_keys();

-- step: index teamcache_gateway_cache_jobs_submitted_by
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_jobs_submitted_by') AND indisvalid)
-- concurrently
-- A caller's own jobs, newest first.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_jobs_submitted_by;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_jobs_submitted_by ON cache_jobs USING btree (submitted_by, created_at, id);
