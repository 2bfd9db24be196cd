-- The part of docs/reference.md that the catalog knows. Made in a database with pg_haul and nothing else.
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET timezone = 'UTC';

-- What a role may do is asked of the server: a role for each grant.
CREATE ROLE producer;
CREATE ROLE worker;
CREATE ROLE admin;
SELECT haul.grant_producer('producer'), haul.grant_worker('worker'), haul.grant_admin('admin') \g /dev/null

CREATE FUNCTION pg_temp.cell(text) RETURNS text LANGUAGE sql AS
	$$ SELECT replace(regexp_replace(coalesce($1, ''), '\s+', ' ', 'g'), '|', '\|') $$;

-- Who may, of those who have a role of the queue.
CREATE FUNCTION pg_temp.roles(allowed regclass, called oid) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(r, ', ' ORDER BY n), 'superusers')
		FROM unnest(ARRAY['producer', 'worker', 'admin']) WITH ORDINALITY AS t(r, n)
		WHERE CASE WHEN called IS NULL
				   THEN has_table_privilege(r, allowed, 'SELECT') OR has_any_column_privilege(r, allowed, 'SELECT')
				   ELSE has_function_privilege(r, called, 'EXECUTE') END
$$;

SELECT '## Functions and procedures' || E'\n';
SELECT format(E'### haul.%s\n\n```sql\n%s haul.%s(%s)%s\n```\n\n%s\n\nMay be called by: %s.\n',
		p.proname, CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.proname,
		regexp_replace(pg_get_function_arguments(p.oid), ', (?=((IN|OUT|INOUT) )?[a-z_]+ [a-z])', E',\n    ', 'g'),
		CASE p.prokind WHEN 'p' THEN '' ELSE ' → ' || pg_get_function_result(p.oid) END,
		regexp_replace(obj_description(p.oid, 'pg_proc'), E'\n', ' ', 'g'), pg_temp.roles(NULL, p.oid))
	FROM pg_proc AS p
	WHERE p.pronamespace = 'haul'::regnamespace AND p.proname !~ '^_' AND p.prorettype <> 'trigger'::regtype
		AND obj_description(p.oid, 'pg_proc') IS NOT NULL
	ORDER BY p.proname, p.pronargs;

SELECT E'## Tables and views\n';
SELECT format(E'### haul.%s\n\n%s. May be read by: %s.\n\n'
		'| column | type | default | |\n| --- | --- | --- | --- |\n%s\n',
		c.relname, obj_description(c.oid, 'pg_class'), pg_temp.roles(c.oid::regclass, NULL),
		(SELECT string_agg(format('| `%s` | %s | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
					CASE WHEN a.attidentity <> '' THEN 'identity'
						 WHEN d.adbin IS NULL THEN '' ELSE '`' || pg_temp.cell(pg_get_expr(d.adbin, d.adrelid)) || '`' END,
					pg_temp.cell(col_description(c.oid, a.attnum))), E'\n' ORDER BY a.attnum)
			FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
	FROM pg_class AS c
	WHERE c.relnamespace = 'haul'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname !~ '^_'
		AND NOT c.relispartition
		AND obj_description(c.oid, 'pg_class') IS NOT NULL
	ORDER BY c.relname;

SELECT E'## Settings\n\n| setting | default | range | set by | |\n| --- | --- | --- | --- | --- |\n' ||
		string_agg(format('| `%s` | %s | %s | %s | %s |', name,
			CASE WHEN boot_val = '' THEN 'empty' ELSE boot_val || coalesce(' ' || unit, '') END,
			CASE WHEN min_val IS NOT NULL THEN min_val || ' to ' || max_val ELSE vartype END,
			CASE context WHEN 'postmaster' THEN 'a restart' WHEN 'sighup' THEN 'a reload' WHEN 'superuser' THEN 'superusers'
				ELSE 'anybody' END,
			pg_temp.cell(short_desc || coalesce('. ' || extra_desc, ''))), E'\n' ORDER BY name) || E'\n'
	FROM pg_settings WHERE name LIKE 'haul.%';
