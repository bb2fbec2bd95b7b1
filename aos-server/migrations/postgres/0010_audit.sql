-- Who changed what: a chain of records that nothing changes any more. See docs/src/security.md.
CREATE TABLE audit (
    tenant text NOT NULL,
    seq bigint NOT NULL,                -- 1, 2, 3… without gaps
    at bigint NOT NULL,
    stage text NOT NULL,                -- asked, done, failed
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    request_id text,
    before bytea,                       -- the hash of the record before
    hash bytea NOT NULL,
    PRIMARY KEY (tenant, seq)
);

CREATE TABLE audit_checkpoint (
    tenant text NOT NULL,
    seq bigint NOT NULL,
    key text NOT NULL,                  -- public, in hex
    hash bytea NOT NULL,
    signature text NOT NULL,            -- in hex
    PRIMARY KEY (tenant, seq, key)
);

CREATE FUNCTION aos_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;

CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION aos_append_only();
CREATE TRIGGER audit_checkpoint_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION aos_append_only();
