-- The account of model calls, and the budgets they are held to.

-- One row per call of a provider. What is not known of its cost is a range.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,             -- rises in the order of reservation
    tenant TEXT NOT NULL,
    call TEXT NOT NULL,
    at INTEGER NOT NULL,                -- when it was reserved
    run TEXT,
    workflow TEXT,
    effect TEXT,
    attempt INTEGER NOT NULL,           -- the effect's, from 1
    fallback INTEGER NOT NULL,          -- which call of the attempt, from 0
    adapter TEXT NOT NULL,
    model TEXT NOT NULL,                -- the one asked for
    api_key TEXT,                       -- the name of the caller's key
    request BLOB NOT NULL,              -- SHA-256
    bound INTEGER,                      -- the most it can cost; null when there is no price
    book BLOB,                          -- the price book, a blob
    deadline INTEGER NOT NULL,          -- when its process counts as dead, should it still be open
    state TEXT NOT NULL,                -- open, settled, unknown, refused, not_sent or cached
    settled_at INTEGER,
    answered TEXT,                      -- the model that answered
    request_id TEXT,                    -- the provider's name of the request
    input_tokens INTEGER,               -- neither read from the cache nor put into it; all tokens are null when not known
    output_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,         -- kept for however long
    cache_write_1h_tokens INTEGER,      -- those of them that are kept for an hour
    cost_min INTEGER NOT NULL,
    cost_max INTEGER                    -- null when there is no price
) STRICT;

CREATE UNIQUE INDEX ledger_by_call ON ledger (tenant, call);
CREATE INDEX ledger_by_time ON ledger (tenant, at);
CREATE INDEX ledger_by_run ON ledger (tenant, run) WHERE run IS NOT NULL;
CREATE INDEX ledger_open ON ledger (deadline) WHERE state = 'open';

CREATE TABLE budget (
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,                -- tenant, workflow:<id> or key:<id>
    period TEXT NOT NULL,               -- day or total
    max INTEGER NOT NULL,
    PRIMARY KEY (tenant, scope, period)
) STRICT, WITHOUT ROWID;

-- What calls count under the budgets that are set; kept up to date by whoever writes the ledger.
CREATE TABLE budget_use (
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    day INTEGER NOT NULL,               -- days since 1970 (UTC); 0 for all time
    spent INTEGER NOT NULL,             -- by calls that have ended
    reserved INTEGER NOT NULL,          -- for calls that are open
    PRIMARY KEY (tenant, scope, period, day)
) STRICT, WITHOUT ROWID;
