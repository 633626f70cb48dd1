-- name: exists
-- With its newest column.
SELECT EXISTS (
    SELECT FROM pg_attribute
    WHERE attrelid = to_regclass('teamcache_gateway.api_keys')
      AND attname = 'public_key' AND NOT attisdropped
) AS found

-- name: all
SELECT name, digest, scopes, path_prefixes, rate_limit_per_minute, poll_limit_per_minute,
       public_key, created_at, disabled_at, revoked_at,
       -- What a driver can hold: 'infinity' is no end.
       CASE WHEN expires_at < 'infinity'
            THEN least(greatest(expires_at, to_timestamp(0)), timestamptz '9999-01-01')
       END AS expires_at
FROM teamcache_gateway.api_keys
ORDER BY id

-- name: create
INSERT INTO teamcache_gateway.api_keys (
    name, digest, scopes, path_prefixes, rate_limit_per_minute, poll_limit_per_minute, expires_at,
    public_key
)
VALUES (
    %(name)s, %(digest)s, %(scopes)s::text[], %(path_prefixes)s::text[],
    %(rate_limit_per_minute)s, %(poll_limit_per_minute)s, %(expires_at)s,
    %(public_key)s
)
ON CONFLICT (name) DO NOTHING
RETURNING name

-- name: revoke
UPDATE teamcache_gateway.api_keys
SET revoked_at = coalesce(revoked_at, now())
WHERE name = %(name)s
RETURNING name

-- name: disable
UPDATE teamcache_gateway.api_keys
SET disabled_at = coalesce(disabled_at, now())
WHERE name = %(name)s AND revoked_at IS NULL
RETURNING name

-- name: enable
UPDATE teamcache_gateway.api_keys
SET disabled_at = NULL
WHERE name = %(name)s AND revoked_at IS NULL
RETURNING name
