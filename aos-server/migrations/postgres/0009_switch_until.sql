-- When a switch goes off by itself.
ALTER TABLE switch_change ADD COLUMN until bigint;
