-- When schedules tick: haul.cron_next(), haul.cron_previous().
\ir include/prelude.psql
SELECT no_plan();

-- The next, or last, ticks as local times of the schedule's zone with their offsets.
CREATE FUNCTION helper.shown(ticks timestamptz[], zone text) RETURNS text[]
	LANGUAGE plpgsql SET timezone = 'UTC'
AS $$
BEGIN
	PERFORM set_config('timezone', zone, true);
	RETURN (SELECT array_agg(to_char(t, 'MM-DD HH24:MI:SS TZH:TZM') ORDER BY n)
		FROM unnest(ticks) WITH ORDINALITY AS u(t, n));
END
$$;
CREATE FUNCTION helper.next(schedule text, n integer, after timestamptz, zone text DEFAULT 'UTC',
		skipped text DEFAULT 'next', repeated text DEFAULT 'once') RETURNS text[]
	LANGUAGE sql
AS $$
	SELECT helper.shown(array_agg(t ORDER BY i), zone)
		FROM haul.cron_next(schedule, n, after, zone, skipped, repeated) WITH ORDINALITY AS c(t, i)
$$;
CREATE FUNCTION helper.previous(schedule text, n integer, before timestamptz, zone text DEFAULT 'UTC',
		skipped text DEFAULT 'next', repeated text DEFAULT 'once') RETURNS text[]
	LANGUAGE sql
AS $$
	SELECT helper.shown(array_agg(t ORDER BY i), zone)
		FROM haul.cron_previous(schedule, n, before, zone, skipped, repeated) WITH ORDINALITY AS c(t, i)
$$;

-- Arguments
SELECT is(count(*), 5::bigint, 'five ticks without a number') FROM haul.cron_next('@hourly');
SELECT is(min(t), date_trunc('hour', now(), 'UTC') + interval '1 hour', 'after the present, in UTC')
	FROM haul.cron_next('@hourly') AS t;
SELECT cmp_ok(max(t), '<', now(), 'and before it') FROM haul.cron_previous('@hourly') AS t;
SELECT is(array_agg(t), ARRAY['2026-01-01 00:00Z', '2027-01-01 00:00Z']::timestamptz[], 'earliest first')
	FROM haul.cron_next('@yearly', 2, '2025-06-01') AS t;
SELECT is(array_agg(t), ARRAY['2025-01-01 00:00Z', '2024-01-01 00:00Z']::timestamptz[], 'latest first')
	FROM haul.cron_previous('@yearly', 2, '2025-06-01') AS t;
SELECT is(helper.next('0 12 * * *', 1, '2026-01-01 12:00Z'), '{"01-02 12:00:00 +00:00"}', 'strictly after');
SELECT is(helper.next('0 12 * * *', 1, '2026-01-01 11:59:59.999999Z'), '{"01-01 12:00:00 +00:00"}',
	'a microsecond after');
SELECT is(helper.previous('0 12 * * *', 1, '2026-01-01 12:00Z'), '{"12-31 12:00:00 +00:00"}', 'strictly before');
SELECT is(helper.previous('0 12 * * *', 1, '2026-01-01 12:00:00.000001Z'), '{"01-01 12:00:00 +00:00"}',
	'a microsecond before');
SELECT is(helper.next('0 12 * * *', 1, '1969-12-31 11:59:59.5Z'), '{"12-31 12:00:00 +00:00"}', 'before 1970');
SELECT is(count(*), 10000::bigint, 'ten thousand ticks') FROM haul.cron_next('* * * * * *', 10000);
SELECT is_empty($$ SELECT haul.cron_next('@reboot') UNION ALL SELECT haul.cron_previous('@reboot') $$,
	'@reboot has no ticks');
SELECT is(helper.next('30 9 * * *', 1, '2026-01-01', 'europe/BERLIN'), '{"01-01 09:30:00 +01:00"}',
	'the case of a zone''s name does not matter');
SELECT is(helper.next('30 9 * * *', 1, '2026-01-01', 'Asia/Kathmandu'), '{"01-01 09:30:00 +05:45"}', 'odd offsets');

-- What the fields mean; test/unit/cron_expr.cpp has it all.
SELECT is(helper.next('*/20 9-10 * * mon-fri', 4, '2026-01-02 10:00Z'),
	'{01-02 10:20:00 +00:00,01-02 10:40:00 +00:00,01-05 09:00:00 +00:00,01-05 09:20:00 +00:00}', 'five fields');
SELECT is(helper.next('15,45 0 0 1 jan *', 2, '2026-01-01 00:00:15Z'),
	'{01-01 00:00:45 +00:00,01-01 00:00:15 +00:00}', 'six fields');
SELECT is(helper.next('0 0 15,$ * *', 4, '2028-02-01'),
	'{02-15 00:00:00 +00:00,02-29 00:00:00 +00:00,03-15 00:00:00 +00:00,03-31 00:00:00 +00:00}', 'the last day');
SELECT is(helper.next('0 0 13 * fri', 3, '2026-02-07 00:00Z'),
	'{02-13 00:00:00 +00:00,02-20 00:00:00 +00:00,02-27 00:00:00 +00:00}', 'the 13th, and Fridays');
SELECT is(helper.next('25 seconds', 3, '2026-01-01 00:00Z'),
	'{01-01 00:00:25 +00:00,01-01 00:00:50 +00:00,01-01 00:01:15 +00:00}', 'multiples of 25 seconds');
SELECT is(helper.previous('25 seconds', 2, '2026-01-01 00:00:25Z'),
	'{01-01 00:00:00 +00:00,12-31 23:59:35 +00:00}', 'backwards, too');
SELECT is(array_agg(t), ARRAY['1969-12-31 23:59:50Z', '1970-01-01 00:00Z']::timestamptz[], 'around 1970')
	FROM haul.cron_next('10 seconds', 2, '1969-12-31 23:59:45.5Z') AS t;
SELECT is(haul.cron_next('0 0 29 2 */7', 1, '2088-02-29 00:00Z'), '2128-02-29 00:00Z', 'what comes every 40 years');
SELECT is(haul.cron_previous('0 0 29 2 */7', 1, '2128-02-29 00:00Z'), '2088-02-29 00:00Z', 'and came');

-- New York puts its clocks forward at 2:00 on 8 March 2026, and back at 2:00 on 1 November.
SELECT is(helper.next('30 2 * * *', 3, '2026-03-07', 'America/New_York'),
	'{03-07 02:30:00 -05:00,03-08 03:00:00 -04:00,03-09 02:30:00 -04:00}', 'a skipped time ticks when clocks have moved');
SELECT is(helper.previous('30 2 * * *', 3, '2026-03-10 00:00-04', 'America/New_York'),
	'{03-09 02:30:00 -04:00,03-08 03:00:00 -04:00,03-07 02:30:00 -05:00}', 'backwards, too');
SELECT is(helper.next('30 2 * * *', 2, '2026-03-07', 'America/New_York', 'skip'),
	'{03-07 02:30:00 -05:00,03-09 02:30:00 -04:00}', 'or it does not tick');
SELECT is(helper.next('*/10 1-3 * * *', 3, '2026-03-08 01:40-05', 'America/New_York'),
	'{03-08 01:50:00 -05:00,03-08 03:00:00 -04:00,03-08 03:10:00 -04:00}', 'all that is skipped is one tick');
SELECT is(helper.next('15 3 8 3 *', 1, '2026-03-01', 'America/New_York'), '{03-08 03:15:00 -04:00}',
	'nothing to make up where nothing was skipped');
SELECT is(helper.next('30 * * * *', 3, '2026-03-08 00:00-05', 'America/New_York'),
	'{03-08 00:30:00 -05:00,03-08 01:30:00 -05:00,03-08 03:30:00 -04:00}', 'every hour: an hour on');

SELECT is(helper.next('30 1 * * *', 3, '2026-10-31', 'America/New_York'),
	'{10-31 01:30:00 -04:00,11-01 01:30:00 -04:00,11-02 01:30:00 -05:00}', 'a repeated time ticks once');
SELECT is(helper.next('30 1 * * *', 1, '2026-11-01 01:30-04', 'America/New_York'), '{11-02 01:30:00 -05:00}',
	'also when the search begins in between');
SELECT is(helper.previous('30 1 * * *', 1, '2026-11-01 03:00-05', 'America/New_York'), '{11-01 01:30:00 -04:00}',
	'or comes from behind');
SELECT is(helper.next('30 1 * * *', 3, '2026-11-01 00:00-04', 'America/New_York', 'next', 'twice'),
	'{11-01 01:30:00 -04:00,11-01 01:30:00 -05:00,11-02 01:30:00 -05:00}', 'or twice');
SELECT is(helper.next('*/30 1,2 * * *', 4, '2026-11-01 00:00-04', 'America/New_York'),
	'{11-01 01:00:00 -04:00,11-01 01:30:00 -04:00,11-01 02:00:00 -05:00,11-01 02:30:00 -05:00}', 'and goes on');
SELECT is(helper.next('30 * * * *', 4, '2026-11-01 00:00-04', 'America/New_York'),
	'{11-01 00:30:00 -04:00,11-01 01:30:00 -04:00,11-01 01:30:00 -05:00,11-01 02:30:00 -05:00}',
	'every hour: each that passes');
SELECT is(helper.next('30 0-23 * * *', 2, '2026-11-01 01:00-04', 'America/New_York'),
	'{11-01 01:30:00 -04:00,11-01 01:30:00 -05:00}', 'however it is spelled');

-- Berlin: forward at 2:00 on 29 March 2026, back at 3:00 on 25 October.
SELECT is(helper.next('0 2,3 29 3 *', 1, '2026-03-28', 'Europe/Berlin'), '{03-29 03:00:00 +02:00}',
	'a tick that is skipped and the regular one at the same instant are one');
SELECT is(helper.next('0 2,3 * * *', 3, '2026-03-28 03:00+01', 'Europe/Berlin'),
	'{03-29 03:00:00 +02:00,03-30 02:00:00 +02:00,03-30 03:00:00 +02:00}', 'and go on as two');
SELECT is(helper.next('0 2 * * *', 2, '2026-10-24 12:00+02', 'Europe/Berlin', 'skip', 'twice'),
	'{10-25 02:00:00 +02:00,10-25 02:00:00 +01:00}', 'the repeated hour begins');
SELECT is(helper.next('0 3 * * *', 2, '2026-10-24 12:00+02', 'Europe/Berlin', 'skip', 'twice'),
	'{10-25 03:00:00 +01:00,10-26 03:00:00 +01:00}', 'where it ends nothing is repeated');

-- Lord Howe: half an hour, forward at 2:00 on 4 October 2026, back at 2:00 on 5 April.
SELECT is(helper.next('*/15 2 * * *', 3, '2026-10-04 00:00+10:30', 'Australia/Lord_Howe'),
	'{10-04 02:30:00 +11:00,10-04 02:45:00 +11:00,10-05 02:00:00 +11:00}', 'half an hour is skipped');
SELECT is(helper.next('*/15 1 5 4 *', 4, '2026-04-05 00:00+11', 'Australia/Lord_Howe', 'next', 'twice'),
	'{04-05 01:00:00 +11:00,04-05 01:15:00 +11:00,04-05 01:30:00 +11:00,04-05 01:45:00 +11:00}', 'half an hour');
SELECT is(helper.next('*/15 1 5 4 *', 2, '2026-04-05 01:45+11', 'Australia/Lord_Howe', 'next', 'twice'),
	'{04-05 01:30:00 +10:30,04-05 01:45:00 +10:30}', 'is repeated');

-- Apia had no 30 December 2011; São Paulo skipped midnight.
SELECT is(helper.next('0 9 30 * *', 2, '2011-12-01', 'Pacific/Apia'), '{12-31 00:00:00 +14:00,01-30 09:00:00 +14:00}',
	'a day is skipped');
SELECT is(helper.next('@daily', 2, '2018-11-03 12:00-03', 'America/Sao_Paulo'),
	'{11-04 01:00:00 -02:00,11-05 00:00:00 -02:00}', 'midnight is skipped');

SELECT is_empty(format($$ SELECT t FROM haul.%s('30 12 1 %s *', 1000, '%s-06-01 UTC', 'America/New_York') AS t
		WHERE to_char(t AT TIME ZONE 'America/New_York', 'HH24:MI:SS') <> '12:30:00' $$, direction, month, year),
		'clocks change for centuries: ' || direction || ', month ' || month)
	FROM (VALUES ('cron_next', 2000), ('cron_previous', 3000)) AS d(direction, year), (VALUES (1), (7)) AS m(month);
SELECT is(count(*), 0::bigint, 'the end of time') FROM haul.cron_next('@daily', 3, '294276-12-31 23:00Z');
SELECT is(count(*), 0::bigint, 'and the beginning') FROM haul.cron_previous('@daily', 3, '4714-11-24 00:00Z BC');
SELECT is(count(*), 1::bigint, 'and their neighbours') FROM haul.cron_next('@daily', 3, '294276-12-30 23:00Z');
SELECT is(count(*), 1::bigint) FROM haul.cron_previous('@daily', 3, '4714-11-24 01:00Z BC');
SELECT is(count(*), 0::bigint) FROM haul.cron_previous('7 seconds', 3, '4714-11-24 00:00Z BC');
SELECT is(count(*), 0::bigint) FROM haul.cron_next('7 seconds', 3, '294276-12-31 23:59:59Z');

-- Bad input
SELECT is(ARRAY[state, message, hint], ARRAY['22023', 'invalid schedule "61 * * * *": minute "61" is not in 0-59',
		'Schedules have five fields (minute hour day-of-month month day-of-week), or six with the second first, '
		|| 'or are names such as @hourly, or say "30 seconds".'], 'an error says what and where')
	FROM helper.refusal($$ SELECT haul.cron_next('61 * * * *') $$) AS r;
SELECT is(state || ' ' || message, '22023 invalid schedule ' || expected, 'refused: ' || left(schedule, 20))
	FROM (VALUES
		('', '"": it is empty'),
		('* * * *', '"* * * *": it has 4 fields, not 5 or 6'),
		('* * * * * * *', '"* * * * * * *": it has 7 fields, not 5 or 6'),
		('0 0 30 2 *', '"0 0 30 2 *": it never matches: no month that it names has such a day'),
		('*/0 * * * *', '"*/0 * * * *": minute "*/0": the step, after the slash, is not in 1-60'),
		('0 9-5 * * *', '"0 9-5 * * *": hour "9-5": the range runs backwards'),
		('0 0 * * frü', '"0 0 * * frü": day-of-week "fr??": a number from 0 to 7 or a name from sun to sat is missing'),
		('90000 seconds', '"90000 seconds": "90000" is not in 1-86400 seconds'),
		('@never', '"@never": "@never" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, '
			|| '@every_minute, @every_second, @reboot'),
		(repeat('ü ', 1000), '"' || repeat('ü ', 33) || '...": it is longer than 1000 bytes')
		) AS v(schedule, expected),
		LATERAL helper.refusal(format('SELECT haul.cron_next(%L)', schedule)) AS r;
SELECT is(ARRAY[state, message, hint], ARRAY['22023', format('time zone "%s" not recognized',
		CASE WHEN length(zone) > 100 THEN left(zone, 100) || '...' ELSE zone END),
		'pg_timezone_names lists the names: Europe/Berlin, Etc/GMT-3, UTC and others.'], 'no zone: ' || left(zone, 20))
	FROM unnest(ARRAY['', 'Mars/Phobos', 'Europe/Berlinn', 'CEST', '+01:00', 'Etc/GMT+99', 'Europe/Berlin1', 'UTC+1',
		'JST-9',
		'<x>99', '<x>1<y>2', '../etc/passwd', repeat('x', 10000)]) AS zone,
		LATERAL helper.refusal(format('SELECT haul.cron_next(%L, timezone => %L)', '@daily', zone)) AS r;
SELECT is(helper.next('@daily', 1, '2026-06-30 12:00Z', zone), expected, 'zone ' || zone)
	FROM (VALUES ('Etc/GMT+9', ARRAY['07-01 00:00:00 -09:00']), ('GMT', '{"07-01 00:00:00 +00:00"}'), ('gmt+0',
		'{"07-01 00:00:00 +00:00"}'),
		('EST5EDT', '{"07-01 00:00:00 -04:00"}'),
		('<+03>-03', '{"07-01 00:00:00 +03:00"}')) AS v(zone, expected);
SELECT is(state || ' ' || message, expected, 'refused: ' || arguments)
	FROM (VALUES
		('n => 0', '22023 n must be in 1 to 10000, not 0'),
		('n => -1', '22023 n must be in 1 to 10000, not -1'),
		('n => 10001', '22023 n must be in 1 to 10000, not 10001'),
		('after => ''infinity''', '22023 after must not be infinite'),
		('after => ''-infinity''', '22023 after must not be infinite'),
		('dst_skipped => ''once''', '22023 dst_skipped must be next or skip, not "once"'),
		('dst_repeated => ''''', '22023 dst_repeated must be once or twice, not ""'),
		('schedule => NULL', '22004 argument "schedule" must not be null'),
		('n => NULL', '22004 argument "n" must not be null'),
		('after => NULL', '22004 argument "after" must not be null'),
		('timezone => NULL', '22004 argument "timezone" must not be null'),
		('dst_skipped => NULL', '22004 argument "dst_skipped" must not be null'),
		('dst_repeated => NULL', '22004 argument "dst_repeated" must not be null')
		) AS v(arguments, expected),
		LATERAL helper.refusal(format('SELECT haul.cron_next(%s%s)',
			CASE WHEN arguments NOT LIKE 'schedule%' THEN 'schedule => ''@daily'', ' END, arguments)) AS r;
SELECT is((helper.refusal($$ SELECT haul.cron_previous('@daily', before => 'infinity') $$)).message,
	'before must not be infinite', 'haul.cron_previous names its own argument');
SELECT throws_ok($$ SELECT haul.cron_previous('@daily', 0) $$, '22023', NULL, 'and minds the number');

\ir include/finish.psql
