-- Gives the sessions of a database, for whatever they can be given, values that nobody expects. The tests set anew what
-- their own statements and results depend on, but have the functions of the extension run with these values.
-- Not check_function_bodies: whoever sets that to off restores a dump; nor row_security: off asks for an error.
\set QUIET on
SELECT format('ALTER DATABASE %I SET %s', current_database(), setting) FROM unnest(ARRAY[
	-- what strings mean
	'standard_conforming_strings = off', 'escape_string_warning = off', 'backslash_quote = off', 'array_nulls = off',
	'transform_null_equals = on', 'quote_all_identifiers = on', 'timezone_abbreviations = ''India''',
	-- how values are shown
	'datestyle = ''SQL, DMY''', 'intervalstyle = sql_standard', 'timezone = ''Asia/Kathmandu''', 'bytea_output = escape',
	'extra_float_digits = -15', 'xmlbinary = hex', 'xmloption = document',
	-- what is made, and where
	'default_tablespace = odd', 'temp_tablespaces = odd', 'default_table_access_method = odd',
	-- transactions, privileges, time
	'default_transaction_deferrable = on', 'lock_timeout = ''20 s''',
	'idle_in_transaction_session_timeout = ''2 min''', 'idle_session_timeout = ''2 min''',
	-- how queries are run
	'synchronize_seqscans = off', 'constraint_exclusion = on',
	'plpgsql.extra_errors = ''all''']) AS setting
	-- since PostgreSQL 19 all strings are those of the standard
	WHERE current_setting('server_version_num')::integer < 190000
		OR setting !~ '^(standard_conforming_strings|escape_string_warning) ' \gexec
