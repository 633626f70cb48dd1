-- Made CONCURRENTLY: the table may be large and in use. One that failed half-way is invalid, counts
-- as missing, and is dropped first.

-- step: index teamcache_gateway_cache_job_items_failed
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid IN (to_regclass('teamcache_gateway_cache_job_items_failed'), to_regclass('teamcache_gateway_cache_job_items_state')) AND indisvalid)
-- concurrently
-- The end of a job names its first failed file.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_failed;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_failed ON cache_job_items USING btree (job_id, id) WHERE status = 'failed';
