-- Lists by age and by workflow and state, and the ends of runs for retention.

CREATE INDEX run_by_age ON run (tenant, created_at, id);
CREATE INDEX run_by_end ON run (tenant, finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX run_by_workflow_state ON run (tenant, workflow, state, id);
DROP INDEX run_by_workflow;
