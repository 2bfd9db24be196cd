/*
 * times.h: the times and durations that jobs are made of: their bounds, and how they are added.
 *
 * What is within the bounds can be added up, in any order, and still is a time that the server can
 * hold. So whatever happens to a job later, none of its times is the reason why it cannot. Sums are
 * those of the calendar in UTC: the time zone of whoever computes them has no part in them.
 */
#ifndef HAUL_TIMES_H
#define HAUL_TIMES_H

#include "postgres.h"

#include "utils/timestamp.h"

/* 0001-01-01 and 10000-01-01, in UTC */
#define TIMES_BEGIN (-INT64CONST(730119) * USECS_PER_DAY)
#define TIMES_END (INT64CONST(2921940) * USECS_PER_DAY)

static inline bool
time_is_within_bounds(TimestampTz at)
{
	return at >= TIMES_BEGIN && at < TIMES_END;
}

/* The same in words: "must be …". */
#define TIME_BOUNDS "must be a time of the years 1 to 9999"

/* What is wrong with a duration, in words: "must …"; NULL: nothing. It has at least so many µs. */
extern const char *interval_problem(const Interval *interval, int64 least);

/* The time after a delay without a problem; the last one within the bounds, if that is later. */
extern TimestampTz time_after(TimestampTz at, const Interval *delay);

#endif
