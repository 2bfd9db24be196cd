/*
 * waiter.h: sessions that wait for work, in shared memory.
 *
 * A session waits from the moment when its checkout found too little until it is
 * woken or checks out again. Nobody misses a job:
 * - The checkout notes the number of events before it takes its snapshot, registers
 *   as waiting, and looks again if there were events since.
 * - Whoever made jobs claimable counts an event once they are visible, then calls
 *   sessions that take such jobs, until they have room for all: first those that have been
 *   woken already and not done with their look, then, of those that wait, the last to begin.
 *   So few stay awake, and take jobs by the batch.
 * - A session owes what it is called for until it has looked. With room left, it has seen all that
 *   it takes, and looks once more for what it has been called for meanwhile. If it has none left,
 *   or may not have been able to take the jobs, it passes on what is still there: to those that
 * have been waiting since before the event, since whoever began later has seen it himself.
 * - A session that ends passes on all it owes; so does the background worker for one that does not
 *   come.
 *
 * test/model checks this. Sessions are also how the death of a worker shows: see
 * waiter_departures().
 */
#ifndef HAUL_WAITER_H
#define HAUL_WAITER_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "rows/audience.h"
#include "rows/worker.h"
#include "shared/lane.h"

/* Jobs of a lane that may be claimed, all for one audience. */
typedef struct Work
{
	LaneTag lane;
	Audience audience;
	LaneKey from; /* none of them lies below */
	int64 jobs;
} Work;

/* ---- for the checkout; all of these do nothing when not preloaded ---- */

/* The number of events so far; to be read before the snapshot is taken. */
extern uint64 waiter_events(void);

/* The session is one of this worker's. owns: and nobody else's, so its end may be the worker's. */
extern void waiter_bind(const Worker *worker, bool owns);

/* The same; and it does not wait any more, since it looks now. */
extern void waiter_enter(const Worker *worker);

/* What a session has been called for. */
typedef struct WaiterCall
{
	Work work;
	uint64 sequence; /* of the event */
} WaiterCall;

#define WAITER_CALLS 4 /* of one session at a time */

/* The look is over, with room for more jobs or not. Fills in what others may be needed for, and
 * returns how many that are; the caller passes on what is left of that, then says so. */
extern int waiter_looked(bool has_room, WaiterCall *calls);
extern void waiter_pass_on(const Work *left, uint64 sequence);
extern void waiter_passed_on(const WaiterCall *calls, int count);

/* The session waits, with room for so many jobs: to be woken by its latch (haul.checkout_wait), or
 * as the worker wants it. Returns whether there were events since, so that the caller must look
 * again.
 */
extern bool waiter_wait(const Worker *worker, bool by_latch, int room, uint64 events);

/* The session takes no more, or not now. */
extern void waiter_leave(void);

/* The session waits, but something came while it looked: treats it as woken. */
extern void waiter_wake_myself(void);

/* Whether the session waits and has not been woken. */
extern bool waiter_is_waiting(void);

/* ---- at the end of a transaction; these raise no errors ---- */

/* The work is there. Returns how many sessions are called for it. */
extern int waiter_wake(const Work *work);
/* Whether anybody waits at all. */
extern bool waiter_any(void);
/* The worker has no row any more. */
extern void waiter_worker_gone(int64 worker);

/* ---- for the background worker ---- */

extern int waiter_count(Oid database);
/* How often a session was woken since the server started, in all databases. */
extern uint64 waiter_wakeups(void);

/* A NOTIFY to be sent. */
typedef struct Notice
{
	int session;
	uint64 woken; /* which call it is */
	int64 worker; /* on its own channel; 0: on that of all, with the queue's name */
	int length;
	char queue[QUEUE_BYTES + 1];
} Notice;

/* The notices to send in the database, at most max. They stay until marked as sent. */
extern int waiter_notices(Oid database, Notice *notices, int max);
extern void waiter_notices_sent(const Notice *notices, int count);

/* Passes on the calls of sessions that have not come in time, and reminds those. Returns when to
 * look again. */
extern TimestampTz waiter_remind_overdue(Oid database, TimestampTz now);

/* A worker that has no session of its own any more. */
typedef struct Departure
{
	int64 worker;
	TimestampTz at;
	pid_t process; /* at the other end, on this machine; 0: unknown */
} Departure;

#define MAX_DEPARTURES 256

/* Copies those of the database; returns how many. */
extern int waiter_departures(Oid database, Departure *departures);
/* It is being dealt with. False when the worker has come back meanwhile. */
extern bool waiter_take_departure(Oid database, const Departure *departure);

/* Processes that serve sessions that the worker owns; returns how many, at most max. */
extern int waiter_backends(Oid database, int64 worker, int *pids, int max);

/* ---- shared memory ---- */

extern Size waiter_shmem_size(void);
extern void waiter_shmem_attach(void *memory, bool found);

#endif
