-- API keys. The key itself is not here: only its hash.
CREATE TABLE api_key (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    id text NOT NULL,                   -- the name, which is a part of the key
    hash bytea NOT NULL,                -- SHA-256 of the key
    label text NOT NULL,
    scope text NOT NULL,                -- read, run or admin
    expires_at bigint,
    created_by text NOT NULL,
    created_at bigint NOT NULL,
    revoked_by text,
    revoked_at bigint,
    used_at bigint,                     -- late by up to a minute or so
    UNIQUE (tenant, id)
);

-- Makes a key if it is the tenant's first; of several that race, one.
CREATE FUNCTION aos_first_key(of_tenant text, key_id text, key_hash bytea, key_label text, key_scope text,
                              key_expires_at bigint, key_by text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    LOCK TABLE api_key IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO api_key (tenant, id, hash, label, scope, expires_at, created_by, created_at)
        SELECT of_tenant, key_id, key_hash, key_label, key_scope, key_expires_at, key_by, aos_now()
        WHERE NOT EXISTS (SELECT 1 FROM api_key WHERE tenant = of_tenant)
        RETURNING created_at INTO made;
    RETURN made;
END $$;

-- By which key a run was asked for.
ALTER TABLE run ADD COLUMN api_key text;
