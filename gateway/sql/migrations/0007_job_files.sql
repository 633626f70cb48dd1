-- Made CONCURRENTLY: the table may be large and in use. One that failed half-way is invalid, counts
-- as missing, and is dropped first.

-- step: index teamcache_gateway_cache_job_items_files
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_job_items_files') AND indisvalid) AND to_regclass('teamcache_gateway_cache_job_items_job') IS NULL
-- concurrently
-- The files of a job in their order; with their states, so that a page of one state is found in the
-- index alone.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_files;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_files ON cache_job_items USING btree (job_id, id) INCLUDE (status);
-- The new one does all that this one did, and each index makes submitting slower.
-- Drops only our own index, never TeamCache Manager's.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_job;
