-- name: spend
-- No row comes back if it was spent before, at whichever gateway.
INSERT INTO teamcache_gateway.signature_nonces (key_name, nonce)
VALUES (%(key_name)s, %(nonce)s)
ON CONFLICT (key_name, nonce) DO NOTHING
RETURNING nonce
