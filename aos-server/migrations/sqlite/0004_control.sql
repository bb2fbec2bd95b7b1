-- What an installation is steered by, beside its runs: its workers, slots of skills with a limit, schedules, switches.

CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    role TEXT NOT NULL,                 -- serve or worker
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    concurrency INTEGER NOT NULL,       -- runs in hand, at most
    in_hand INTEGER NOT NULL,           -- runs in hand now
    draining INTEGER NOT NULL,          -- takes on no more
    since INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    alive_until INTEGER NOT NULL
) STRICT;

CREATE TABLE skill_limit (
    tenant TEXT NOT NULL,
    skill TEXT NOT NULL,
    max INTEGER NOT NULL,               -- attempts under way at the same time
    PRIMARY KEY (tenant, skill)
) STRICT;

-- One row per attempt of a skill with a limit that is under way.
CREATE TABLE skill_slot (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT, -- never given out twice
    tenant TEXT NOT NULL,
    skill TEXT NOT NULL,
    holder TEXT NOT NULL,               -- the worker
    deadline INTEGER NOT NULL
) STRICT;

CREATE INDEX skill_slot_by_skill ON skill_slot (tenant, skill, deadline);

CREATE TABLE schedule (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    workflow TEXT NOT NULL,             -- id, id@1.2.3 or id@^1
    input TEXT NOT NULL,                -- JSON
    priority INTEGER NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,            -- an IANA name
    overlap TEXT NOT NULL,              -- skip or allow
    paused INTEGER NOT NULL,
    next_at INTEGER,                    -- when it is due next
    held_until INTEGER NOT NULL DEFAULT 0,-- when others may take it in hand, should it still be due
    last_due INTEGER,                   -- the last time it was due, and what became of it
    last_run TEXT,
    last_failure TEXT,                  -- JSON
    PRIMARY KEY (tenant, id)
) STRICT;

CREATE INDEX schedule_due ON schedule (next_at) WHERE paused = 0 AND next_at IS NOT NULL;

-- Every turn of a switch; the last one of each counts.
CREATE TABLE switch_change (
    seq INTEGER PRIMARY KEY,
    switch TEXT NOT NULL,
    is_on INTEGER NOT NULL,
    turned_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX switch_change_by_switch ON switch_change (switch, seq);
