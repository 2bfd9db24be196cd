/*
 * times.c: the times and durations that jobs are made of.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"

#include "base/compat.h"
#include "base/times.h"

#define LONGEST_MONTHS (1000 * MONTHS_PER_YEAR)
#define LONGEST_DAYS (LONGEST_MONTHS * DAYS_PER_MONTH)

/* as the server compares intervals */
static int
compare(const Interval *a, const Interval *b)
{
	return DatumGetInt32(
		DirectFunctionCall2(interval_cmp, IntervalPGetDatum(a), IntervalPGetDatum(b)));
}

static bool
is_between(int64 value, int64 limit)
{
	return value >= -limit && value <= limit;
}

/*
 * Months, days and time are added one after the other: 290000 years and as many days less are no
 * long time, but lead far away in between.
 */
static bool
parts_are_short(const Interval *interval)
{
	return is_between(interval->month, LONGEST_MONTHS) && is_between(interval->day, LONGEST_DAYS) &&
		   is_between(interval->time, LONGEST_DAYS * USECS_PER_DAY);
}

const char *
interval_problem(const Interval *interval, int64 least)
{
	Interval shortest = {.time = least};
	Interval longest = {.month = LONGEST_MONTHS};

	if (compare(interval, &shortest) < 0)
		return least == 0	? "must not be negative"
			   : least == 1 ? "must be longer than 0"
							: psprintf("must be at least " INT64_FORMAT " ms", least / 1000);
	if (compare(interval, &longest) > 0 || !parts_are_short(interval))
		return "must not be longer than 1000 years";
	return NULL;
}

TimestampTz
time_after(TimestampTz at, const Interval *delay)
{
	/* a timestamp without time zone is the same number, in UTC */
	Timestamp sum = DatumGetTimestamp(DirectFunctionCall2(
		timestamp_pl_interval, TimestampGetDatum(at), IntervalPGetDatum(delay)));

	return Min(sum, TIMES_END - 1);
}

PG_FUNCTION_INFO_V1(haul_is_time);

Datum
haul_is_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(time_is_within_bounds(PG_GETARG_TIMESTAMPTZ(0)));
}

PG_FUNCTION_INFO_V1(haul_is_duration);

Datum
haul_is_duration(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(interval_problem(PG_GETARG_INTERVAL_P(0), 0) == NULL);
}
