-- pg_haul: a background-job queue that lives inside PostgreSQL
\echo Use "CREATE EXTENSION pg_haul" to load this file. \quit

-- The parts of this script are concatenated in the order of their names. Every
-- function pins its search_path; PUBLIC gets nothing (80_grants.sql).

COMMENT ON SCHEMA haul IS 'pg_haul: background jobs. INSERT INTO haul.jobs(kind) VALUES (…) enqueues one';
