-- The columns, defaults, indexes and storage of haul.jobs, and nothing else.
CREATE SCHEMA bench;
CREATE TABLE bench.jobs (LIKE haul.jobs INCLUDING ALL);
SELECT format('ALTER TABLE bench.jobs SET (%s)', array_to_string(reloptions, ', '))
	FROM pg_class WHERE oid = 'haul.jobs'::regclass \gexec
