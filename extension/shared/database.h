/*
 * database.h: which databases a background worker serves, in shared memory.
 *
 * A database is served once its worker has looked after what callbacks cannot
 * see, and as long as the launcher can have one started for it. Only then may
 * enqueuers leave it to the worker to NOTIFY, and may floors be used: the sweep
 * is their net.
 */
#ifndef HAUL_DATABASE_H
#define HAUL_DATABASE_H

#include "postgres.h"

#include "utils/timestamp.h"

#define MAX_DATABASES 128

/* Whoever sleeps until a tick looks at the clock this often: it may have been set forward. */
#define CLOCK_INTERVAL (10 * USECS_PER_SEC)

typedef enum DatabaseState
{
	DATABASE_UNKNOWN, /* whether it has the extension */
	DATABASE_ABSENT,  /* it has not */
	DATABASE_PRESENT,
} DatabaseState;

/* ---- for everybody; all of these do nothing, or say no, when not preloaded ---- */

extern bool database_is_served(void);
extern bool database_worker_runs(void);

/* Something happens in this database: its worker will have to maintain it. */
extern void database_note_activity(void);

/* At commit, too: wakes the worker of a database, or has the launcher start it. Raises no errors.
 */
extern void database_wake_worker(Oid database);

/* A session waits: its worker must run. */
extern void database_want_worker(void);

/* A worker of ours lives: the background worker must watch over it. */
extern void database_want_watch(void);

/* What a database is to be looked at for, at a time. */
typedef enum DatabaseClock
{
	DATABASE_DUE,  /* a job falls due in a lane that has no entry */
	DATABASE_TICK, /* no schedule has a tick before; 0: that is not known */
	DATABASE_CLOCKS
} DatabaseClock;

/* At commit, too: plans a look for then, unless there is to be one sooner; true if there was none
 * planned before. Raises no errors. */
extern bool database_plan(Oid database, DatabaseClock clock, TimestampTz at);

/* At commit: schedules changed; the worker looks when the next tick is. Raises no errors. */
extern void database_cron_changed(void);

/* At commit: the extension was created here. Raises no errors. */
extern void database_announce(void);

/* What is known of the current database; processes that do not run have no pid. */
typedef struct DatabaseStatus
{
	int launcher_pid;
	int worker_pid;
	bool served;
} DatabaseStatus;

extern void database_status(DatabaseStatus *status);

/* ---- for the launcher ---- */

extern void database_launcher_began(void);

/* Makes sure that the database has a slot; false when there is no room. */
extern bool database_select(Oid database);
/* All others are not to be served; their slots are freed once their workers have ended. Returns how
 * many were freed now; there must be room for MAX_DATABASES of them. */
extern int database_keep_only(const Oid *databases, int count, Oid *freed);

typedef struct DatabaseView
{
	Oid oid;
	DatabaseState state;
	bool running;
	bool wanted;  /* somebody needs the worker now */
	bool planned; /* run_at may follow from a tick, which is a time of the clock */
	TimestampTz run_at;
} DatabaseView;

/* Copies what is known of all databases; returns how many. */
extern int database_list(DatabaseView *views);
/* Whether a database without a slot wants to be looked at; urgent: it has just got the extension.
 */
extern bool database_is_requested(bool *urgent);
/* All that were requested so far will be looked at now. */
extern void database_requests_met(void);
extern void database_worker_starts(Oid database);
/* Whether the last worker, which has stopped, ended by itself. */
extern bool database_worker_ended(Oid database);
/* No worker could be had until then: back to what works without. */
extern void database_worker_fails(Oid database, TimestampTz retry_at);

/* ---- for the worker of a database ---- */

/* False when another one runs, or when the database is not to be served. */
extern bool database_worker_began(Oid database);
extern void database_set_state(Oid database, DatabaseState state);
extern void database_serve(Oid database);
/* The worker ends by itself, to run again when maintenance is due, but not before the given time.
 * False when somebody has asked for it meanwhile. */
extern bool database_worker_ends(Oid database, TimestampTz not_before);
/* About to look for work: asks to be woken anew. False when it serves this database no more. */
extern bool database_take_wanted(Oid database);
/* Whether it knows of workers to be watched. */
extern void database_watches(Oid database, bool watching);
/* When the database is to be maintained: sooner if something happened there since the last time. */
extern TimestampTz database_maintain_at(Oid database);
/* Whether the time for a look has come, which is then planned no longer; should the worker break
 * off before anybody plans another, one is. Else, and so with DT_NOBEGIN for now, *next is when. */
extern bool database_take(Oid database, DatabaseClock clock, TimestampTz now, TimestampTz *next);

/* It is being maintained; what happens from now on counts anew. */
extern void database_maintained(Oid database, TimestampTz now);
/* That is done; it is due again at the latest when something expires. */
extern void database_maintenance_done(Oid database, TimestampTz expiry);

/* ---- shared memory ---- */

extern Size database_shmem_size(void);
extern void database_shmem_attach(void *memory, bool found);

#endif
