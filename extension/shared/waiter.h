/*
 * waiter.h: sessions that wait for work, in shared memory.
 *
 * A session waits from the moment when its checkout found too little until it is
 * woken or checks out again. Nobody misses a job:
 * - The checkout notes the number of events before it takes its snapshot, registers
 *   as waiting, and looks again if there were events since.
 * - Whoever made jobs claimable counts an event once they are visible, then wakes as
 *   many waiting sessions as there are jobs, those that wait longest first.
 * - A session that was woken, has looked, and still sees a job of those it was woken
 *   for passes the call on, to those that have been waiting since before the event.
 *   So does the background worker for a session that does not come.
 *
 * test/model checks this. Sessions are also how the death of a worker shows: see
 * waiter_departures().
 */
#ifndef HAUL_WAITER_H
#define HAUL_WAITER_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "rows/worker.h"
#include "shared/lane.h"

/* ---- for the checkout; all of these do nothing when not preloaded ---- */

/* The number of events so far; to be read before the snapshot is taken. */
extern uint64 waiter_events(void);

/* The session is one of this worker's. owns: and nobody else's, so its end may be the worker's. */
extern void waiter_bind(const Worker *worker, bool owns);

/* The same; and it does not wait any more, since it looks now. */
extern void waiter_enter(const Worker *worker);

/* The session waits: to be woken by its latch (haul.checkout_wait), or as the worker wants it.
 * Returns whether there were events since, so that the caller must look again. */
extern bool waiter_wait(const Worker *worker, bool by_latch, uint64 events);

/* The session, which waits, found something after all. */
extern void waiter_leave(void);

/* The session waits, but something came while it looked: treats it as woken. */
extern void waiter_wake_myself(void);

/* Whether the session has been woken and nobody in its place, and for what: jobs of the lane (an
 * empty queue: of any) that do not lie below the key. */
extern bool waiter_was_woken(LaneTag *event, LaneKey *from);

/* The look is over. A session that was woken passes the call on if others are needed. */
extern void waiter_looked(bool found, bool others_needed);

/* The session, woken, had better not look before: it has found nothing lately. */
extern TimestampTz waiter_rests_until(void);

/* Whether the session waits and has not been woken. */
extern bool waiter_is_waiting(void);

/* ---- at the end of a transaction; these raise no errors ---- */

/* So many jobs of the lane, none of which lies below the key, may be claimed now. Returns how many
 * sessions are woken for them. */
extern int waiter_wake(const LaneTag *tag, LaneKey from, int64 jobs);
/* Whether anybody waits at all. */
extern bool waiter_any(void);
/* The worker has no row any more. */
extern void waiter_worker_gone(int64 worker);

/* ---- for the background worker ---- */

extern int waiter_count(Oid database);

/* A NOTIFY to be sent. */
typedef struct Notice
{
	int session;
	uint64 woken; /* which call it is */
	int64 worker; /* on its own channel; 0: on that of all, with the queue's name */
	int length;
	char queue[QUEUE_BYTES + 1];
} Notice;

/* The notices to send in the database now, at most max. They stay until marked as sent. *next is
 * when there will be more (DT_NOEND: unknown). */
extern int waiter_notices(Oid database, Notice *notices, int max, TimestampTz *next);
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
