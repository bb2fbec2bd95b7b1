-- Restoring the registry from a dump: psql does it with an empty search path, in which the trigger has to find its
-- table all the same.

ALTER FUNCTION registry_changed() SET search_path FROM CURRENT;
