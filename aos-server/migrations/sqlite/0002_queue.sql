-- Priorities, delayed starts, pausing, and limits on how many runs of a workflow are held at the same time.

ALTER TABLE run ADD COLUMN priority INTEGER NOT NULL DEFAULT 5; -- 9 is claimed first
ALTER TABLE run ADD COLUMN start_at INTEGER;                    -- not claimed before this time
ALTER TABLE run ADD COLUMN pausing INTEGER NOT NULL DEFAULT 0;  -- asked to pause; its worker has not let go of it yet
ALTER TABLE run ADD COLUMN lane INTEGER NOT NULL DEFAULT 5;     -- the priority; plus 10 when the workflow has a limit

-- Claims look at one lane after the other, so that neither what is not due yet nor what a limit holds back is read.
-- The state stands in it so that counting reads nothing else.
CREATE INDEX run_ready ON run (lane, ready_at, state) WHERE ready_at IS NOT NULL;
CREATE INDEX run_limited ON run (tenant, workflow, lane, ready_at) WHERE ready_at IS NOT NULL AND lane >= 10;
CREATE INDEX run_held ON run (tenant, workflow) WHERE state = 'running' AND lane >= 10;
DROP INDEX run_open;

CREATE TABLE workflow_limit (
    tenant TEXT NOT NULL,
    workflow TEXT NOT NULL,
    max INTEGER NOT NULL,               -- runs held at the same time
    PRIMARY KEY (tenant, workflow)
) STRICT;
