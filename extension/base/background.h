/*
 * background.h: what background workers have in common.
 */
#ifndef HAUL_BACKGROUND_H
#define HAUL_BACKGROUND_H

#include "postgres.h"

#include "postmaster/bgworker.h"
#include "utils/timestamp.h"

/* Unlike Min(), evaluates each argument once. */
static inline TimestampTz
sooner(TimestampTz a, TimestampTz b)
{
	return a < b ? a : b;
}

/*
 * A background worker of ours, to be registered: connected to a database, and not started again
 * when it ends. Its main function is one that the library exports; the rest is its name. Allocates
 * nothing.
 */
extern BackgroundWorker background_worker(const char *function, Datum argument, const char *type,
										  const char *name, ...) pg_attribute_printf(4, 5);

/* Ends with SIGTERM, rereads the configuration after SIGHUP. */
extern void background_signals(void);

/* What the database has for its clients is not for us. */
extern void background_settings(void);

/* To be called often: ends the process or rereads the configuration, if so signalled. */
extern void background_check(void);

/* Begins a transaction with a snapshot in the current database. False, and none is begun, when the
 * database has the extension no more, or somebody is about to drop or alter it. */
extern bool background_begin(void);

/* The same, whether or not the extension is there. */
extern void background_begin_anyhow(void);
extern void background_commit(void);

/* Whether somebody is about to drop, rename or copy the current database. */
extern bool background_database_is_claimed(void);

/* Why background_begin() was refused the last time. */
extern bool background_extension_gone(void);
extern bool background_is_in_the_way(void);

#endif
