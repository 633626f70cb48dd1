-- Made CONCURRENTLY: the table may be large and in use. One that failed half-way is invalid, counts
-- as missing, and is dropped first.

-- step: index teamcache_gateway_cache_job_items_state
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_job_items_state') AND indisvalid) AND num_nonnulls(to_regclass('teamcache_gateway_cache_job_items_job'), to_regclass('teamcache_gateway_cache_job_items_pending'), to_regclass('teamcache_gateway_cache_job_items_failed')) = 0
-- concurrently
-- A job's files of one state, in order: claimed, shown and counted.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_state;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_state ON cache_job_items USING btree (job_id, status, id);
-- The new one does all that these did, and each index makes submitting slower.
-- Drops only our own index, never TeamCache Manager's.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_job;
-- As above.
-- Drops only our own index.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_pending;
-- As above.
-- Drops only our own index.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_failed;
