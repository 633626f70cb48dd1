-- What `teamcache-gateway throttle` says, for workers on many machines.

-- step: table of the throttle
-- unless: to_regclass('teamcache_gateway.throttle') IS NOT NULL
-- No row: each worker keeps to its own setting. 0: no limit.
CREATE TABLE teamcache_gateway.throttle (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    bytes_per_second bigint NOT NULL CHECK (bytes_per_second >= 0)
);
