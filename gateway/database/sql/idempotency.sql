-- name: find
SELECT fingerprint, job_id::text, answer
FROM teamcache_gateway.idempotency_keys
WHERE caller = %(caller)s AND key = %(key)s AND created_at > now() - interval '24 hours'

-- name: try_lock
-- Held to the end of the transaction, also by a gateway that dies in it.
SELECT pg_try_advisory_xact_lock(
    hashtextextended('teamcache_gateway.idempotency_keys ' || %(caller)s || ' ' || %(key)s, 0)
) AS locked

-- name: keep
-- No row comes back if another gateway has answered the key since we looked for it.
INSERT INTO teamcache_gateway.idempotency_keys AS kept (caller, key, fingerprint, job_id, answer)
VALUES (%(caller)s, %(key)s, %(fingerprint)s, %(job)s::uuid, %(answer)s)
ON CONFLICT (caller, key) DO UPDATE
SET fingerprint = excluded.fingerprint,
    job_id = excluded.job_id,
    answer = excluded.answer,
    created_at = excluded.created_at
WHERE kept.created_at <= now() - interval '24 hours'
RETURNING key
