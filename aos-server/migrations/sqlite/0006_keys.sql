-- API keys. The key itself is not here: only its hash.
CREATE TABLE api_key (
    seq INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,                   -- the name, which is a part of the key
    hash BLOB NOT NULL,                 -- SHA-256 of the key
    label TEXT NOT NULL,
    scope TEXT NOT NULL,                -- read, run or admin
    expires_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_by TEXT,
    revoked_at INTEGER,
    used_at INTEGER,                    -- late by up to a minute or so
    UNIQUE (tenant, id)
) STRICT;

-- By which key a run was asked for.
ALTER TABLE run ADD COLUMN api_key TEXT;
