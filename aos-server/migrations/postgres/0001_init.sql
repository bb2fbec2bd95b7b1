-- Runs, their journals and inboxes, and payloads by content.
--
-- Times are milliseconds since 1970 (UTC), by this database's clock. Money is picodollars, the unsigned number's bits
-- in a signed integer. Texts that callers choose are BYTEA: TEXT can't hold U+0000.

-- The clock of every lease. A function of its own, so that a test can put another one in its place.
CREATE FUNCTION aos_now() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
    'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint';

CREATE TABLE run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- rises in the order of creation
    state text NOT NULL,
    epoch bigint NOT NULL,              -- the fencing token: rises with every claim
    worker text,                        -- who holds the lease; null when nobody does
    next_index bigint NOT NULL DEFAULT 0,   -- the journal's next free index
    inbox_last bigint NOT NULL DEFAULT 0,   -- the inbox's last number
    ready_at bigint,                    -- when it can be claimed; the largest integer: not by time alone; null: it has ended
    rescues integer NOT NULL DEFAULT 0, -- claims of an expired lease in a row between which the journal did not grow
    index_at_claim bigint NOT NULL DEFAULT 0,
    tenant text NOT NULL,
    run text NOT NULL,
    workflow text NOT NULL,
    version text NOT NULL,
    plan bytea NOT NULL,                -- SHA-256; the plan is a blob
    input text NOT NULL,                -- JSON
    seed bigint NOT NULL,
    budget bigint,
    parent text,
    fork_run text,
    fork_effect text,
    idempotency_key bytea,
    request_id bytea,
    created_at bigint NOT NULL,
    finished_at bigint,
    cost bigint NOT NULL DEFAULT 0,
    content_hash bytea,
    output text,                        -- JSON
    failure text                        -- JSON
) WITH (fillfactor = 70); -- every append updates the row; with room on its page no index is touched

CREATE UNIQUE INDEX run_by_name ON run (tenant, run);
CREATE UNIQUE INDEX run_by_key ON run (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX run_by_parent ON run (tenant, parent, id) WHERE parent IS NOT NULL;
-- Lists, newest first.
CREATE INDEX run_by_tenant ON run (tenant, id);
CREATE INDEX run_by_state ON run (tenant, state, id);
CREATE INDEX run_by_workflow ON run (tenant, workflow, id);
-- Serves claims and the counts of what is open.
CREATE INDEX run_open ON run (ready_at, id) WHERE ready_at IS NOT NULL;

-- One row per append: `text` holds `lines` entries from index `first` on, joined by line feeds.
CREATE TABLE entry (
    run bigint NOT NULL,
    first bigint NOT NULL,
    lines integer NOT NULL,
    text bytea NOT NULL,
    PRIMARY KEY (run, first)
);

CREATE TABLE inbox (
    run bigint NOT NULL,
    seq bigint NOT NULL,
    signal bytea,                       -- a signal's name; null for a request to stop
    content bytea NOT NULL,             -- a signal's JSON text, or the reason to stop
    PRIMARY KEY (run, seq)
);

CREATE TABLE blob (
    hash bytea PRIMARY KEY,             -- SHA-256 of the bytes
    bytes bytea NOT NULL
);

-- One row per registered skill version.
CREATE TABLE skills (
    tenant text NOT NULL,
    id text NOT NULL,
    version text NOT NULL,
    status text NOT NULL CHECK (status IN ('enabled', 'disabled')),
    reason text,                        -- why it is disabled
    registered_at bigint NOT NULL,
    contract text NOT NULL,             -- JSON
    PRIMARY KEY (tenant, id, version)
);

-- One row per registered workflow version.
CREATE TABLE workflows (
    tenant text NOT NULL,
    id text NOT NULL,
    version text NOT NULL,
    status text NOT NULL CHECK (status IN ('enabled', 'disabled')),
    reason text,                        -- why it is disabled
    registered_at bigint NOT NULL,
    definition text NOT NULL,           -- JSON; null for Rust code
    plan text NOT NULL,                 -- JSON
    PRIMARY KEY (tenant, id, version)
);

-- Rises with every change of the two, an operator's by hand included: that is how caches learn of it.
CREATE TABLE registry_revision (
    tenant text PRIMARY KEY,
    revision bigint NOT NULL
);

CREATE FUNCTION registry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed text := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant ELSE NEW.tenant END;
BEGIN
    INSERT INTO registry_revision AS now VALUES (changed, 1)
        ON CONFLICT (tenant) DO UPDATE SET revision = now.revision + 1;
    RETURN NULL;
END $$;

CREATE TRIGGER skills_changed AFTER INSERT OR UPDATE OR DELETE ON skills
    FOR EACH ROW EXECUTE FUNCTION registry_changed();
CREATE TRIGGER workflows_changed AFTER INSERT OR UPDATE OR DELETE ON workflows
    FOR EACH ROW EXECUTE FUNCTION registry_changed();

CREATE TABLE registry_audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    at bigint NOT NULL,
    action text NOT NULL,
    kind text NOT NULL,                 -- skill or workflow
    subject text NOT NULL,              -- id@version
    status text NOT NULL,
    reason text
);

CREATE INDEX registry_audit_by_tenant ON registry_audit (tenant, seq);

CREATE TABLE registry_snapshot (
    tenant text NOT NULL,
    hash bytea NOT NULL,
    taken_at bigint NOT NULL,
    skills bigint NOT NULL,
    workflows bigint NOT NULL,
    text text NOT NULL,                 -- canonical JSON
    PRIMARY KEY (tenant, hash)
);
