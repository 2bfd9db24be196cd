/*
 * cron_time.h: schedules: expressions of cron in a time zone, and the instants that they name
 * (ticks).
 *
 * The ticks are a function of the schedule alone: it does not matter where a search begins.
 *
 * Where a schedule is restricted to certain hours, its policies say what becomes of the local times
 * that clocks skip and repeat. One that runs in every hour of the day goes by the time that passes:
 * nothing is made up for when clocks are put forward, and it runs in both passes of a repeated
 * hour.
 */
#ifndef HAUL_CRON_TIME_H
#define HAUL_CRON_TIME_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "pgtime.h"

#include "cron/cron_expr.h"

typedef struct CronSchedule
{
	CronExpr expr;
	pg_tz *zone;
	bool make_up; /* what falls into skipped time ticks once, when the clocks have moved */
	bool twice;	  /* what falls into repeated time ticks both times */
} CronSchedule;

/* Reads a schedule; an error says what is wrong with it. */
extern void cron_schedule_read(CronSchedule *schedule, const char *expr, const char *timezone,
							   const char *dst_skipped, const char *dst_repeated);

/* The first tick after an instant within 100 years, or DT_NOEND. */
extern TimestampTz cron_time_next(const CronSchedule *schedule, TimestampTz after);

/* The last tick before an instant within 100 years, or DT_NOBEGIN. */
extern TimestampTz cron_time_previous(const CronSchedule *schedule, TimestampTz before);

#endif
