-- Made CONCURRENTLY: the tables may be large and in use. One that failed half-way is invalid,
-- counts as missing, and is dropped first.

-- step: index teamcache_gateway_files_path_prefix
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_files_path_prefix') AND indisvalid)
-- concurrently
-- A directory is expanded by a range over its prefix, in any locale.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_files_path_prefix;
CREATE INDEX CONCURRENTLY teamcache_gateway_files_path_prefix ON files USING btree (path text_pattern_ops);

-- step: index teamcache_gateway_files_parent_path
-- unless: EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass('files') AND a.attname = 'parent_path' AND i.indisvalid AND i.indpred IS NULL)
-- concurrently
-- The files directly in a directory.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_files_parent_path;
CREATE INDEX CONCURRENTLY teamcache_gateway_files_parent_path ON files USING btree (parent_path);

-- step: index teamcache_gateway_cache_jobs_created
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_jobs_created') AND indisvalid)
-- concurrently
-- Jobs are listed newest first.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_jobs_created;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_jobs_created ON cache_jobs USING btree (created_at, id);

-- step: index teamcache_gateway_cache_jobs_active
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_jobs_active') AND indisvalid)
-- concurrently
-- Workers look for the oldest active jobs.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_jobs_active;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_jobs_active ON cache_jobs USING btree (created_at, id) WHERE status IN ('pending', 'running');

-- step: index teamcache_gateway_cache_job_items_job
-- unless: EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass('cache_job_items') AND a.attname = 'job_id' AND i.indisvalid AND i.indpred IS NULL)
-- concurrently
-- A job's items; also what deleting a job looks them up by.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_job;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_job ON cache_job_items USING btree (job_id);

-- step: index teamcache_gateway_cache_job_items_pending
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid IN (to_regclass('teamcache_gateway_cache_job_items_pending'), to_regclass('teamcache_gateway_cache_job_items_state')) AND indisvalid)
-- concurrently
-- Items are claimed in order; without this the end of a large job scans its whole beginning.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_pending;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_pending ON cache_job_items USING btree (job_id, id) WHERE status = 'pending';

-- step: index teamcache_gateway_cache_job_items_leased
-- unless: EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('teamcache_gateway_cache_job_items_leased') AND indisvalid)
-- concurrently
-- The items of a worker whose lease ran out.
-- Drops only our own index, where an interrupted start left it invalid.
DROP INDEX CONCURRENTLY IF EXISTS teamcache_gateway_cache_job_items_leased;
CREATE INDEX CONCURRENTLY teamcache_gateway_cache_job_items_leased ON cache_job_items USING btree (worker_id) WHERE status = 'running';
