/*
 * cron_expr.h: expressions of cron, and the local times that they match. Pure: needs no server.
 *
 * Local time is counted in seconds since 1970-01-01 00:00:00 of the same clock, in the proleptic
 * Gregorian calendar: it is the time that a clock on the wall shows, whatever the zone.
 */
#ifndef HAUL_CRON_EXPR_H
#define HAUL_CRON_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRON_EXPR_HINT                                                                             \
	"Schedules have five fields (minute hour day-of-month month day-of-week), or six with the "    \
	"second first, or are names such as @hourly, or say \"30 seconds\"."

#define CRON_EXPR_MAX_LENGTH 1000
#define CRON_EXPR_MAX_INTERVAL 86400
#define CRON_EXPR_ERROR_SIZE 200

#define CRON_EXPR_EVERY_HOUR 0xFFFFFFu

typedef enum CronKind
{
	CRON_CALENDAR, /* local times that match the fields */
	CRON_INTERVAL, /* multiples of so many seconds since 1970-01-01 00:00:00 UTC */
	CRON_REBOOT,   /* never, as far as the clock is concerned */
} CronKind;

/* Bit n of a field is set when the value n matches. */
typedef struct CronExpr
{
	CronKind kind;
	int32_t interval; /* of CRON_INTERVAL alone; the rest is of CRON_CALENDAR alone */
	uint64_t seconds;
	uint64_t minutes;
	uint32_t hours;
	uint32_t days;	   /* of the month, 1 to 31 */
	uint32_t months;   /* 1 to 12 */
	uint32_t weekdays; /* 0 (Sunday) to 6 */
	bool last_day;	   /* the last day of the month matches, too */
	bool either_day;   /* a day matches by days or by weekdays; else by both */
} CronExpr;

/*
 * Reads an expression. When it is none, returns false and says in `error`, of CRON_EXPR_ERROR_SIZE
 * bytes of ASCII, what is wrong with it. What it accepts matches some time in any 40 years.
 */
extern bool cron_expr_parse(const char *text, size_t length, CronExpr *expr, char *error);

/* Rounds down, as times before 1970 need it. */
static inline int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/*
 * The first matching local time from `from` to `until`, or the last from `from` down to `until`;
 * both may be matches themselves. False if there is none. For calendars. Takes no more than a few
 * steps for each month between the two, and not more than for 40 years.
 */
extern bool cron_expr_first(const CronExpr *expr, int64_t from, int64_t until, int64_t *match);
extern bool cron_expr_last(const CronExpr *expr, int64_t from, int64_t until, int64_t *match);

#endif
