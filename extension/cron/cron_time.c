/*
 * cron_time.c: schedules: expressions of cron in a time zone, and the instants that they name.
 *
 * The time line falls into spans in which the zone's offset from UTC does not change. Within one,
 * local time is time plus offset, and the search of cron_expr.c applies to it. Where a span begins,
 * clocks are put forward, and local time is skipped (a gap), or back, and local time is repeated.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "cron/cron_time.h"

#define UNIX_EPOCH ((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * (int64) SECS_PER_DAY)
#define CENTURY (36525 * (int64) SECS_PER_DAY)

/* Every place on earth is within 16 hours of UTC. So clocks are never put back by two days. */
#define LARGEST_OFFSET (16 * SECS_PER_HOUR)
#define LONGEST_OVERLAP (2 * (int64) SECS_PER_DAY)

/* What timestamps can hold. Times are in seconds since 1970-01-01 00:00:00 UTC. */
#define FIRST_SECOND (MIN_TIMESTAMP / USECS_PER_SEC - UNIX_EPOCH)
#define LAST_SECOND (END_TIMESTAMP / USECS_PER_SEC - UNIX_EPOCH - 1)

#define FAR (INT64CONST(1) << 60)

#define MAX_TICKS 10000

typedef struct Span
{
	int64 start;
	int64 end;	  /* exclusive */
	int64 offset; /* local time - time */
	int64 gap;	  /* local times from here to that of the start were skipped, if this is less */
	int64 seen;	  /* local times below have been before */
} Span;

/* Sets offset and end. */
static void
span_measure(Span *span, const pg_tz *zone)
{
	/* One second on: at the very last change that it knows, the server calls it the last. */
	pg_time_t inside = span->start + 1;
	pg_time_t boundary;
	long int before = 0;
	long int after;
	int before_isdst;
	int after_isdst;
	bool ends = pg_next_dst_boundary(&inside, &before, &before_isdst, &boundary, &after,
									 &after_isdst, zone) == 1;

	span->offset = before;
	span->end = ends ? boundary : FAR;
}

static void
span_begin(Span *span, const pg_tz *zone, int64 start)
{
	span->start = start;
	span->gap = FAR;
	span->seen = -FAR;
	span_measure(span, zone);
}

static void
span_advance(Span *span, const pg_tz *zone)
{
	span->gap = span->end + span->offset;
	span->seen = Max(span->seen, span->gap);
	span->start = span->end;
	span_measure(span, zone);
}

/* Whether the schedule names hours of the clock, rather than going by the time that passes. */
static bool
names_hours(const CronSchedule *schedule)
{
	return schedule->expr.hours != CRON_EXPR_EVERY_HOUR;
}

/* Whether the start of the span is a tick because one fell into skipped time. */
static bool
made_up(const CronSchedule *schedule, const Span *span)
{
	int64 match;

	return schedule->make_up && names_hours(schedule) && span->gap < span->start + span->offset &&
		   cron_expr_first(&schedule->expr, span->gap, span->start + span->offset - 1, &match);
}

/* The local time from which on the times of a span are ticks, if the clock allows any before. */
static int64
fresh(const CronSchedule *schedule, const Span *span, int64 from)
{
	int64 local = from + span->offset;

	return schedule->twice || !names_hours(schedule) ? local : Max(local, span->seen);
}

/* The first tick of a span in from .. until. */
static bool
first_tick(const CronSchedule *schedule, const Span *span, int64 from, int64 until, int64 *tick)
{
	int64 match;

	until = Min(until, span->end - 1);
	if (from <= span->start && span->start <= until && made_up(schedule, span))
	{
		*tick = span->start;
		return true;
	}
	if (!cron_expr_first(&schedule->expr, fresh(schedule, span, Max(from, span->start)),
						 until + span->offset, &match))
		return false;
	*tick = match - span->offset;
	return true;
}

/* The last tick of a span in from .. until. */
static bool
last_tick(const CronSchedule *schedule, const Span *span, int64 from, int64 until, int64 *tick)
{
	int64 match;

	until = Min(until, span->end - 1);
	if (cron_expr_last(&schedule->expr, until + span->offset,
					   fresh(schedule, span, Max(from, span->start)), &match))
	{
		*tick = match - span->offset;
		return true;
	}
	*tick = span->start;
	return from <= span->start && span->start <= until && made_up(schedule, span);
}

static TimestampTz
timestamp_of(int64 second)
{
	return (second + UNIX_EPOCH) * USECS_PER_SEC;
}

TimestampTz
cron_time_next(const CronSchedule *schedule, TimestampTz after)
{
	const CronExpr *expr = &schedule->expr;
	int64 from;
	int64 until;
	int64 tick;
	Span span;

	if (TIMESTAMP_NOT_FINITE(after) || expr->kind == CRON_REBOOT)
		return DT_NOEND;
	from = floor_div(after, USECS_PER_SEC) + 1 - UNIX_EPOCH;

	if (expr->kind == CRON_INTERVAL)
	{
		tick = (floor_div(from - 1, expr->interval) + 1) * expr->interval;
		return tick <= LAST_SECOND ? timestamp_of(tick) : DT_NOEND;
	}

	until = Min(from + CENTURY, LAST_SECOND);
	for (span_begin(&span, schedule->zone, from - LONGEST_OVERLAP); span.start <= until;
		 span_advance(&span, schedule->zone))
		if (span.end > from && first_tick(schedule, &span, from, until, &tick))
			return timestamp_of(tick);
	return DT_NOEND;
}

TimestampTz
cron_time_previous(const CronSchedule *schedule, TimestampTz before)
{
	const CronExpr *expr = &schedule->expr;
	int64 until;

	if (TIMESTAMP_NOT_FINITE(before) || expr->kind == CRON_REBOOT)
		return DT_NOBEGIN;
	until = floor_div(before - 1, USECS_PER_SEC) - UNIX_EPOCH;

	if (expr->kind == CRON_INTERVAL)
	{
		int64 tick = floor_div(until, expr->interval) * expr->interval;

		return tick >= FIRST_SECOND ? timestamp_of(tick) : DT_NOBEGIN;
	}

	/* Spans can only be walked forward: through a window that grows until there is a tick in it. */
	for (int64 window = SECS_PER_DAY;; window *= 2)
	{
		int64 from = Max(until - Min(window, CENTURY), FIRST_SECOND);
		int64 last;
		int64 tick;
		bool found = false;
		Span span;

		for (span_begin(&span, schedule->zone, from - LONGEST_OVERLAP); span.start <= until;
			 span_advance(&span, schedule->zone))
			if (span.end > from && last_tick(schedule, &span, from, until, &tick))
			{
				last = tick;
				found = true;
			}
		if (found)
			return timestamp_of(last);
		if (window >= CENTURY)
			return DT_NOBEGIN;
	}
}

/*
 * Besides the names of zones, pg_tzset() takes specifications in the style of POSIX, and with them
 * many a mistyped name: Europe/Berlin1 would be one hour west of Greenwich, and so would +01:00 and
 * UTC+1. It returns them in capitals, and digits they all have; few names are like that.
 */
static bool
is_name(const char *name)
{
	static const char *const in_capitals[] = {"EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT",
											  "GMT0",	 "GMT+0",	"GMT-0"};

	if (strpbrk(name, "abcdefghijklmnopqrstuvwxyz") != NULL || strpbrk(name, "0123456789") == NULL)
		return true;
	for (int i = 0; i < lengthof(in_capitals); i++)
		if (strcmp(name, in_capitals[i]) == 0)
			return true;
	return false;
}

/* <+03>-03 is what the server itself calls the zone that SET TIME ZONE 3 sets. */
static bool
is_offset(pg_tz *zone)
{
	Span span;

	if (*pg_get_timezone_name(zone) != '<')
		return false;
	span_begin(&span, zone, 0);
	return span.end == FAR && span.offset >= -LARGEST_OFFSET && span.offset <= LARGEST_OFFSET;
}

/* A value as an error shows it. */
static char *
value_shown(const char *value)
{
	size_t length = strlen(value);
	int clipped = pg_mbcliplen(value, length, 100);

	return psprintf("%.*s%s", clipped, value, clipped < length ? "..." : "");
}

static pg_tz *
zone_named(const char *name)
{
	pg_tz *zone = pg_tzset(name);

	if (zone == NULL || !pg_tz_acceptable(zone) ||
		!(is_name(pg_get_timezone_name(zone)) || is_offset(zone)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("time zone \"%s\" not recognized", value_shown(name)),
						errhint("pg_timezone_names lists the names: Europe/Berlin, Etc/GMT-3, UTC "
								"and others.")));
	return zone;
}

/* Which of two words it is: false the first, true the second. */
static bool
second_of(const char *name, const char *value, const char *first, const char *second)
{
	if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be %s or %s, not \"%s\"", name, first, second,
							   value_shown(value))));
	return strcmp(value, second) == 0;
}

void
cron_schedule_read(CronSchedule *schedule, const char *expr, const char *timezone,
				   const char *dst_skipped, const char *dst_repeated)
{
	char error[CRON_EXPR_ERROR_SIZE];

	if (!cron_expr_parse(expr, strlen(expr), &schedule->expr, error))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid schedule \"%s\": %s", value_shown(expr), error),
						errhint("%s", CRON_EXPR_HINT)));
	schedule->zone = zone_named(timezone);
	schedule->make_up = !second_of("dst_skipped", dst_skipped, "next", "skip");
	schedule->twice = second_of("dst_repeated", dst_repeated, "once", "twice");
}

/* What is left to do of haul.cron_next() or haul.cron_previous(). */
typedef struct Enumeration
{
	CronSchedule schedule;
	TimestampTz at;
	int left;
} Enumeration;

static char *
text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	arguments_refuse_null(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static Enumeration *
enumerate(FunctionCallInfo fcinfo, const char *bound)
{
	Enumeration *enumeration = palloc(sizeof(Enumeration));
	char *expr = text_argument(fcinfo, 0, "schedule");

	arguments_refuse_null(fcinfo, 1, "n");
	arguments_refuse_null(fcinfo, 2, bound);
	enumeration->left = PG_GETARG_INT32(1);
	enumeration->at = PG_GETARG_TIMESTAMPTZ(2);
	if (enumeration->left < 1 || enumeration->left > MAX_TICKS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("n must be in 1 to %d, not %d", MAX_TICKS, enumeration->left)));
	if (TIMESTAMP_NOT_FINITE(enumeration->at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must not be infinite", bound)));
	cron_schedule_read(&enumeration->schedule, expr, text_argument(fcinfo, 3, "timezone"),
					   text_argument(fcinfo, 4, "dst_skipped"),
					   text_argument(fcinfo, 5, "dst_repeated"));
	return enumeration;
}

/* One tick a call, as long as there are any. */
static Datum
next_of(FunctionCallInfo fcinfo, const char *bound,
		TimestampTz (*step)(const CronSchedule *, TimestampTz))
{
	FuncCallContext *context;
	Enumeration *enumeration;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		context = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		context->user_fctx = enumerate(fcinfo, bound);
		MemoryContextSwitchTo(old);
	}
	context = SRF_PERCALL_SETUP();
	enumeration = context->user_fctx;
	if (enumeration->left-- > 0)
	{
		enumeration->at = step(&enumeration->schedule, enumeration->at);
		if (!TIMESTAMP_NOT_FINITE(enumeration->at))
			SRF_RETURN_NEXT(context, TimestampTzGetDatum(enumeration->at));
	}
	SRF_RETURN_DONE(context);
}

PG_FUNCTION_INFO_V1(haul_cron_next);

Datum
haul_cron_next(PG_FUNCTION_ARGS)
{
	return next_of(fcinfo, "after", cron_time_next);
}

PG_FUNCTION_INFO_V1(haul_cron_previous);

Datum
haul_cron_previous(PG_FUNCTION_ARGS)
{
	return next_of(fcinfo, "before", cron_time_previous);
}
