-- name: read_throttle
SELECT bytes_per_second FROM teamcache_gateway.throttle

-- name: set_throttle
WITH changed AS (
    INSERT INTO teamcache_gateway.throttle (bytes_per_second) VALUES (%(bytes_per_second)s)
    ON CONFLICT (only_row) DO UPDATE SET bytes_per_second = excluded.bytes_per_second
    RETURNING only_row
)
SELECT pg_notify(%(channel)s, '') FROM changed

-- name: clear_throttle
WITH gone AS (DELETE FROM teamcache_gateway.throttle)
SELECT pg_notify(%(channel)s, '')
