-- step: table of idempotency keys
-- unless: to_regclass('teamcache_gateway.idempotency_keys') IS NOT NULL
-- What a submit was answered, by the key that its caller sent with it. The job itself may be gone.
CREATE TABLE teamcache_gateway.idempotency_keys (
    caller text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    job_id uuid NOT NULL,
    answer text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);

-- step: index of idempotency keys by age
-- unless: to_regclass('teamcache_gateway.idempotency_keys_created_at') IS NOT NULL
CREATE INDEX idempotency_keys_created_at ON teamcache_gateway.idempotency_keys (created_at);
