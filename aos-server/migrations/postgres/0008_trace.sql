-- The span a run was asked for within, as the header traceparent has it.
ALTER TABLE run ADD COLUMN trace text;
