-- Who changed what: a chain of records that nothing changes any more. See docs/src/security.md.
CREATE TABLE audit (
    tenant TEXT NOT NULL,
    seq INTEGER NOT NULL,               -- 1, 2, 3… without gaps
    at INTEGER NOT NULL,
    stage TEXT NOT NULL,                -- asked, done, failed
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT,
    before BLOB,                        -- the hash of the record before
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_checkpoint (
    tenant TEXT NOT NULL,
    seq INTEGER NOT NULL,
    key TEXT NOT NULL,                  -- public, in hex
    hash BLOB NOT NULL,
    signature TEXT NOT NULL,            -- in hex
    PRIMARY KEY (tenant, seq, key)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_checkpoint_is_not_changed BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_checkpoint_is_not_removed BEFORE DELETE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
