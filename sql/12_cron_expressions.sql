-- Expressions of cron: when a schedule ticks.

CREATE FUNCTION haul.cron_next(schedule text, n integer DEFAULT 5, after timestamptz DEFAULT now(),
		timezone text DEFAULT 'UTC', dst_skipped text DEFAULT 'next', dst_repeated text DEFAULT 'once')
	RETURNS SETOF timestamptz
	LANGUAGE c STABLE PARALLEL SAFE COST 10 ROWS 5
	AS 'MODULE_PATHNAME', 'haul_cron_next';
COMMENT ON FUNCTION haul.cron_next(text, integer, timestamptz, text, text, text) IS
'The next n ticks (1 to 10000) of a schedule strictly after a time, earliest first; fewer if no more come within 100
years.
schedule: five fields (minute 0-59, hour 0-23, day-of-month 1-31 or $ for the last, month 1-12 or jan-dec, day-of-week
0-7 or sun-sat), six with the second (0-59) first, a name such as @hourly, or "N seconds" (1 to 86400; multiples of N
since 1970).
A field is *, a value, a range a-b, a step */n, a-b/n or a/n (from a on), or a list of these. If the day-of-month and
the day-of-week are both restricted, either suffices; one that begins with * is not restricted. @reboot has no ticks.
timezone: a name from pg_timezone_names, not an offset such as UTC+2. Where clocks change, schedules that do not run in
every hour: a time that is skipped ticks when the clocks have moved (dst_skipped next) or not at all (skip); one that is
repeated ticks the first time (dst_repeated once) or both (twice).
Errors: 22023 for anything else, with what is wrong; 22004 for NULL.';

CREATE FUNCTION haul.cron_previous(schedule text, n integer DEFAULT 5, before timestamptz DEFAULT now(),
		timezone text DEFAULT 'UTC', dst_skipped text DEFAULT 'next', dst_repeated text DEFAULT 'once')
	RETURNS SETOF timestamptz
	LANGUAGE c STABLE PARALLEL SAFE COST 10 ROWS 5
	AS 'MODULE_PATHNAME', 'haul_cron_previous';
COMMENT ON FUNCTION haul.cron_previous(text, integer, timestamptz, text, text, text) IS
'The last n ticks (1 to 10000) of a schedule strictly before a time, latest first; fewer if there were no more within
100 years.
Everything else is as with haul.cron_next().';
