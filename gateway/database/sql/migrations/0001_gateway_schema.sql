-- What is ours alone lives in a schema of its own.

-- step: schema teamcache_gateway
-- unless: EXISTS (SELECT FROM pg_namespace WHERE nspname = 'teamcache_gateway')
CREATE SCHEMA teamcache_gateway;

-- step: table of applied migrations
-- unless: to_regclass('teamcache_gateway.migrations') IS NOT NULL
CREATE TABLE teamcache_gateway.migrations (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- step: table of worker leases
-- unless: to_regclass('teamcache_gateway.workers') IS NOT NULL
-- A worker holds a lease while expires_at lies ahead; it renews it, or its items go back.
CREATE TABLE teamcache_gateway.workers (
    id text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
