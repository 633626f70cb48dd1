-- name: spend
-- No row comes back if it was spent before, at whichever gateway.
INSERT INTO teamcache_gateway.signature_nonces (key_name, nonce)
VALUES (%(key_name)s, %(nonce)s)
ON CONFLICT (key_name, nonce) DO NOTHING
RETURNING nonce

-- name: forget
-- A batch at a time; rows that another gateway holds are left to the next time. A signature is good
-- for an hour at most, and two more are what the clocks of gateways may be apart.
DELETE FROM teamcache_gateway.signature_nonces
WHERE (key_name, nonce) IN (
    SELECT key_name, nonce
    FROM teamcache_gateway.signature_nonces
    WHERE seen_at <= now() - interval '3 hours'
    ORDER BY seen_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
