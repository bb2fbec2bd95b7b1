-- Runs, their journals and inboxes, and payloads by content.
--
-- Times are milliseconds since 1970 (UTC). Money is picodollars, the unsigned number's bits in a signed integer.

CREATE TABLE run (
    id INTEGER PRIMARY KEY,             -- rises in the order of creation
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,             -- the fencing token: rises with every claim
    worker TEXT,                        -- who holds the lease; null when nobody does
    ready_at INTEGER,                   -- when it can be claimed; the largest integer: not by time alone; null: it has ended
    rescues INTEGER NOT NULL DEFAULT 0, -- claims of an expired lease in a row between which the journal did not grow
    entries_at_claim INTEGER NOT NULL DEFAULT 0,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT NOT NULL,
    plan BLOB NOT NULL,                 -- SHA-256; the plan is a blob
    input BLOB,                         -- JSON text; null when it is the blob `input_hash`
    input_hash BLOB,
    seed INTEGER NOT NULL,
    budget INTEGER,
    parent TEXT,
    fork_run TEXT,
    fork_effect TEXT,
    idempotency_key TEXT,
    request_id TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    cost INTEGER NOT NULL DEFAULT 0,
    content_hash BLOB,
    output BLOB,                        -- JSON text
    failure BLOB                        -- JSON text
) STRICT;

CREATE UNIQUE INDEX run_by_name ON run (tenant, run);
CREATE UNIQUE INDEX run_by_key ON run (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_by_parent ON run (tenant, parent) WHERE parent IS NOT NULL;
-- Lists, newest first: every index ends with the row's id.
CREATE INDEX run_by_tenant ON run (tenant);
CREATE INDEX run_by_state ON run (tenant, state);
-- Serves claims and the counts of what is open; the state stands in it so that counting reads nothing else.
CREATE INDEX run_open ON run (ready_at, state) WHERE ready_at IS NOT NULL;

-- One row per append: `text` holds `lines` entries from index `first` on, joined by line feeds.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    first INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    text BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX entry_by_run ON entry (run, first, lines);

CREATE TABLE inbox (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    signal TEXT,                        -- a signal's name; null for a request to stop
    content BLOB NOT NULL,              -- a signal's JSON text, or the reason to stop
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,          -- SHA-256 of the bytes
    bytes BLOB NOT NULL
) STRICT;

-- One row per registered skill version.
CREATE TABLE skills (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
    reason TEXT,                        -- why it is disabled
    registered_at INTEGER NOT NULL,
    contract TEXT NOT NULL,             -- JSON
    PRIMARY KEY (tenant, id, version)
) STRICT;

-- One row per registered workflow version.
CREATE TABLE workflows (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
    reason TEXT,                        -- why it is disabled
    registered_at INTEGER NOT NULL,
    definition TEXT NOT NULL,           -- JSON; null for Rust code
    plan TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (tenant, id, version)
) STRICT;

-- Rises with every change of the two, an operator's by hand included: that is how caches learn of it.
CREATE TABLE registry_revision (
    tenant TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER skills_inserted AFTER INSERT ON skills BEGIN
    INSERT INTO registry_revision VALUES (NEW.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;
CREATE TRIGGER skills_updated AFTER UPDATE ON skills BEGIN
    INSERT INTO registry_revision VALUES (NEW.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;
CREATE TRIGGER skills_deleted AFTER DELETE ON skills BEGIN
    INSERT INTO registry_revision VALUES (OLD.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;
CREATE TRIGGER workflows_inserted AFTER INSERT ON workflows BEGIN
    INSERT INTO registry_revision VALUES (NEW.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;
CREATE TRIGGER workflows_updated AFTER UPDATE ON workflows BEGIN
    INSERT INTO registry_revision VALUES (NEW.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;
CREATE TRIGGER workflows_deleted AFTER DELETE ON workflows BEGIN
    INSERT INTO registry_revision VALUES (OLD.tenant, 1) ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1;
END;

CREATE TABLE registry_audit (
    seq INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    action TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- skill or workflow
    subject TEXT NOT NULL,              -- id@version
    status TEXT NOT NULL,
    reason TEXT
) STRICT;

CREATE INDEX registry_audit_by_tenant ON registry_audit (tenant, seq);

CREATE TABLE registry_snapshot (
    tenant TEXT NOT NULL,
    hash BLOB NOT NULL,
    taken_at INTEGER NOT NULL,
    skills INTEGER NOT NULL,
    workflows INTEGER NOT NULL,
    text TEXT NOT NULL,                 -- canonical JSON
    PRIMARY KEY (tenant, hash)
) STRICT;
