-- Made CONCURRENTLY: the table may be large and in use. One that failed half-way is invalid, counts
-- as missing, and is dropped first.

-- step: index teamcache_gateway_cache_jobs_cancelled
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_jobs_cancelled') AND indisvalid)
-- concurrently
-- Cancelled jobs whose items have yet to follow are looked for at each cancel.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_jobs_cancelled;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_jobs_cancelled ON cache_jobs USING btree (id) WHERE status = 'cancelled';
