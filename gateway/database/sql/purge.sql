-- Rows that have outlived their use, a batch at a time. Rows that others hold are left to the next run.

-- name: idempotency_keys
DELETE FROM teamcache_gateway.idempotency_keys
WHERE (caller, key) IN (
    SELECT caller, key
    FROM teamcache_gateway.idempotency_keys
    WHERE created_at <= now() - interval '24 hours'
    ORDER BY created_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)

-- name: signature_nonces
-- A signature is valid for an hour at most; two more allow for clocks of gateways that differ.
DELETE FROM teamcache_gateway.signature_nonces
WHERE (key_name, nonce) IN (
    SELECT key_name, nonce
    FROM teamcache_gateway.signature_nonces
    WHERE seen_at <= now() - interval '3 hours'
    ORDER BY seen_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
