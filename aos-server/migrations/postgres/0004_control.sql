-- What an installation is steered by, beside its runs: its workers, slots of skills with a limit, schedules, switches.

CREATE TABLE worker (
    id text PRIMARY KEY,
    role text NOT NULL,                 -- serve or worker
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    concurrency bigint NOT NULL,        -- runs in hand, at most
    in_hand bigint NOT NULL,            -- runs in hand now
    draining boolean NOT NULL,          -- takes on no more
    since bigint NOT NULL,
    seen_at bigint NOT NULL,
    alive_until bigint NOT NULL
);

CREATE TABLE skill_limit (
    tenant text NOT NULL,
    skill text NOT NULL,
    max bigint NOT NULL,                -- attempts under way at the same time
    PRIMARY KEY (tenant, skill)
);

-- One row per attempt of a skill with a limit that is under way.
CREATE TABLE skill_slot (
    ticket bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    skill text NOT NULL,
    holder text NOT NULL,               -- the worker
    deadline bigint NOT NULL
);

CREATE INDEX skill_slot_by_skill ON skill_slot (tenant, skill);

-- Takes a slot: its ticket; 0 when as many as may are live; null when the skill has no limit. A function, so that the
-- limit is locked for no longer than the work takes. Each of its statements sees what was committed before it.
CREATE FUNCTION aos_take_slot(of_tenant text, of_skill text, by_holder text, lease bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    at_most bigint;
    taken bigint;
BEGIN
    SELECT max INTO at_most FROM skill_limit WHERE tenant = of_tenant AND skill = of_skill FOR UPDATE;
    IF at_most IS NULL THEN
        RETURN NULL;
    END IF;
    -- One that is being renewed at this moment is locked, so it stays and counts.
    DELETE FROM skill_slot WHERE ticket IN (
        SELECT ticket FROM skill_slot WHERE tenant = of_tenant AND skill = of_skill AND deadline <= aos_now()
        FOR UPDATE SKIP LOCKED);
    IF (SELECT count(*) FROM skill_slot WHERE tenant = of_tenant AND skill = of_skill) >= at_most THEN
        RETURN 0;
    END IF;
    INSERT INTO skill_slot (tenant, skill, holder, deadline)
        VALUES (of_tenant, of_skill, by_holder, aos_now() + lease) RETURNING ticket INTO taken;
    RETURN taken;
END $$;

CREATE TABLE schedule (
    tenant text NOT NULL,
    id text NOT NULL,
    workflow text NOT NULL,             -- id, id@1.2.3 or id@^1
    input text NOT NULL,                -- JSON
    priority smallint NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,            -- an IANA name
    overlap text NOT NULL,              -- skip or allow
    paused boolean NOT NULL,
    next_at bigint,                     -- when it is due next
    held_until bigint NOT NULL DEFAULT 0,-- when others may take it in hand, should it still be due
    last_due bigint,                    -- the last time it was due, and what became of it
    last_run text,
    last_failure text,                  -- JSON
    PRIMARY KEY (tenant, id)
);

CREATE INDEX schedule_due ON schedule (next_at) WHERE NOT paused AND next_at IS NOT NULL;

-- Every turn of a switch; the last one of each counts.
CREATE TABLE switch_change (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    switch text NOT NULL,
    is_on boolean NOT NULL,
    turned_by text NOT NULL,
    reason text NOT NULL,
    at bigint NOT NULL
);

CREATE INDEX switch_change_by_switch ON switch_change (switch, seq);
