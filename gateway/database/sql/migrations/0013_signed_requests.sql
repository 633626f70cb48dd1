-- Keys whose requests are signed, and the nonces of signatures that must count once.

-- step: column public_key of API keys
-- unless: EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('teamcache_gateway.api_keys') AND attname = 'public_key' AND NOT attisdropped)
-- Ed25519, as it is in RFC 8032. Such a key has no secret: an older gateway knows nothing that opens it.
ALTER TABLE teamcache_gateway.api_keys
ADD COLUMN public_key bytea CHECK (octet_length(public_key) = 32);

-- step: table of signatures' nonces
-- unless: to_regclass('teamcache_gateway.signature_nonces') IS NOT NULL
CREATE TABLE teamcache_gateway.signature_nonces (
    key_name text NOT NULL,
    nonce text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_name, nonce)
);

-- step: index of signatures' nonces by age
-- unless: to_regclass('teamcache_gateway.signature_nonces_seen_at') IS NOT NULL
CREATE INDEX signature_nonces_seen_at ON teamcache_gateway.signature_nonces (seen_at);
