-- Priorities, delayed starts, pausing, and limits on how many runs of a workflow are held at the same time.

ALTER TABLE run
    ADD COLUMN priority smallint NOT NULL DEFAULT 5,    -- 9 is claimed first
    ADD COLUMN start_at bigint,                         -- not claimed before this time
    ADD COLUMN pausing boolean NOT NULL DEFAULT false,  -- asked to pause; its worker has not let go of it yet
    ADD COLUMN lane smallint NOT NULL DEFAULT 5;        -- the priority; plus 10 when the workflow has a limit

-- Claims look at one lane after the other, so that neither what is not due yet nor what a limit holds back is read.
CREATE INDEX run_ready ON run (lane, ready_at, id) WHERE ready_at IS NOT NULL;
CREATE INDEX run_limited ON run (tenant, workflow, lane, ready_at, id) WHERE ready_at IS NOT NULL AND lane >= 10;
CREATE INDEX run_held ON run (tenant, workflow) WHERE state = 'running' AND lane >= 10;
DROP INDEX run_open;

CREATE TABLE workflow_limit (
    tenant text NOT NULL,
    workflow text NOT NULL,
    max bigint NOT NULL,                -- runs held at the same time
    PRIMARY KEY (tenant, workflow)
);
