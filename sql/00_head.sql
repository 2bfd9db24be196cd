-- pg_haul: a background-job queue that lives inside PostgreSQL
\echo Use "CREATE EXTENSION pg_haul" to load this file. \quit

-- The parts of this script are concatenated in the order of their names. Every
-- function pins its search_path; PUBLIC gets nothing (80_grants.sql). No string has a backslash in it, which
-- standard_conforming_strings would give another meaning, and functions of the owner that write to tables with
-- triggers have these fire, whatever session_replication_role a database sets.

-- Nothing that stands in the schema haul already is looked for there.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- A schema of the name may be there: DROP EXTENSION leaves it, and a dump makes it first. But whoever could put
-- functions into it could have them called in the place of ours, with the rights of the owner.
DO $$
DECLARE
	schema record;
	creator text;
BEGIN
	SELECT n.oid, n.nspacl, n.nspowner, r.rolname, r.rolsuper INTO schema
		FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner WHERE n.nspname = 'haul';
	IF NOT schema.rolsuper AND schema.rolname <> current_user THEN
		RAISE duplicate_schema USING MESSAGE = format('schema "haul" exists and belongs to role "%s"', schema.rolname),
			HINT = 'Drop or rename the schema: pg_haul needs one of its own.';
	END IF;
	SELECT CASE WHEN a.grantee = 0 THEN 'everybody' ELSE format('role "%s"', r.rolname) END INTO creator
		FROM aclexplode(schema.nspacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
		WHERE a.privilege_type = 'CREATE' AND a.grantee <> schema.nspowner AND r.rolsuper IS NOT TRUE LIMIT 1;
	IF FOUND THEN
		RAISE duplicate_schema USING MESSAGE = format('schema "haul" exists, and %s may create objects in it', creator),
			HINT = 'Drop or rename the schema, or REVOKE CREATE ON SCHEMA haul.';
	END IF;
	IF EXISTS (SELECT FROM pg_depend AS d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = schema.oid
				AND d.classid <> 'pg_extension'::regclass) THEN
		RAISE duplicate_schema USING MESSAGE = 'schema "haul" exists and is not empty',
			HINT = 'Drop or rename the schema: pg_haul needs one of its own.';
	END IF;
END
$$;

COMMENT ON SCHEMA haul IS 'pg_haul: background jobs. INSERT INTO haul.jobs(kind) VALUES (…) enqueues one';

-- Pages are read and written as those of a heap (heartbeat.c, journal.c), whatever is the default here.
SET LOCAL default_table_access_method = heap;
