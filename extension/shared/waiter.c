/*
 * waiter.c: sessions that wait for work, in shared memory.
 *
 * Every backend has a place, found by its number. All of it is guarded by
 * HAUL_LOCK_WAITERS, but for what only the backend itself changes.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/client_process.h"
#include "base/shmem.h"
#include "shared/database.h"
#include "shared/waiter.h"

#define MATCH_QUEUES 32

/* A session that is woken again and again and finds nothing is woken less often: after a pause that
 * doubles each time. Enough to spare the enqueuers beside a worker that may not take what they
 * enqueue. */
#define FIRST_PAUSE 1000 /* microseconds */
#define LONGEST_PAUSE 16000

/* One that does not come is reminded, in growing intervals: its NOTIFY may have got lost on the
 * way. */
#define FIRST_REMINDER USECS_PER_SEC
#define LONGEST_REMINDER (32 * USECS_PER_SEC)

/* Which events may concern a session. */
typedef struct Match
{
	bool all_queues;
	int min_priority;
	int max_priority;
	int prefix_length; /* of the namespace; 0: none */
	uint64 prefix;	   /* its hash */
	int nqueues;
	uint64 queues[MATCH_QUEUES]; /* hashes of their names */
} Match;

typedef enum SessionState
{
	SESSION_BUSY,
	SESSION_WAITING, /* in the list of those */
	SESSION_WOKEN,	 /* and has not looked yet */
} SessionState;

typedef struct Session
{
	dlist_node node; /* in the list of waiting sessions */
	Oid database;
	int64 worker;	 /* 0: none */
	bool owned;		 /* by the worker: no pooler's, nobody else's */
	pid_t process;	 /* at the other end of an owned session, on this machine; 0: unknown */
	WorkerWake wake; /* how the worker wants to be woken */
	bool by_latch;
	Match match;
	SessionState state;
	uint64 waiting_since;	 /* by the sequence */
	uint64 woken;			 /* by the sequence, when the event came */
	TimestampTz overdue_at;	 /* if it has not come by then, it is reminded */
	int64 reminder;			 /* microseconds from that to the next one */
	TimestampTz rests_until; /* rather not woken before */
	int pause;		/* of the next rest, microseconds; 0: it found something the last time */
	bool passed_on; /* somebody else has been woken instead */
	bool notify;	/* a NOTIFY is to be sent */
	LaneTag event;	/* what it was woken for: jobs of this lane */
	LaneKey from;	/* that do not lie below this */
} Session;

/* A worker whose last session ended. */
typedef struct Departed
{
	Oid database;
	Departure departure; /* of worker 0: not in use */
} Departed;

typedef struct Waiters
{
	pg_atomic_uint64 events;
	pg_atomic_uint32 nwaiting; /* changed under the lock */
	uint64 sequence;		   /* orders calls and waits */
	dlist_head waiting;		   /* longest first */
	Departed departed[MAX_DEPARTURES];
	Session sessions[FLEXIBLE_ARRAY_MEMBER];
} Waiters;

static Waiters *waiters;

Size
waiter_shmem_size(void)
{
	return offsetof(Waiters, sessions) + mul_size(MaxBackends, sizeof(Session));
}

void
waiter_shmem_attach(void *memory, bool found)
{
	waiters = memory;
	if (found)
		return;
	pg_atomic_init_u64(&waiters->events, 1);
	pg_atomic_init_u32(&waiters->nwaiting, 0);
	dlist_init(&waiters->waiting);
}

static void
lock(void)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_EXCLUSIVE);
}

static void
unlock(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_WAITERS));
}

static Session *
mine(void)
{
	return &waiters->sessions[MyProc - ProcGlobal->allProcs];
}

/* ---- matching ---- */

static uint64
hash(const char *bytes, int length)
{
	return hash_bytes_extended((const unsigned char *) bytes, length, 0);
}

static void
make_match(Match *match, const Worker *worker)
{
	match->all_queues = worker->all_queues || worker->queues.count > MATCH_QUEUES;
	match->min_priority = worker->min_priority;
	match->max_priority = worker->max_priority;
	match->prefix_length = 0;
	match->nqueues = 0;
	if (worker->namespace != NULL)
	{
		match->prefix_length = VARSIZE_ANY_EXHDR(worker->namespace);
		match->prefix = hash(VARDATA_ANY(worker->namespace), match->prefix_length);
	}
	for (int i = 0; !match->all_queues && i < worker->queues.count; i++)
		match->queues[match->nqueues++] =
			hash(VARDATA_ANY(worker->queues.names[i]), VARSIZE_ANY_EXHDR(worker->queues.names[i]));
}

static bool
matches(const Match *match, const LaneTag *event)
{
	uint64 queue;

	if (event->length == 0) /* any lane */
		return true;
	if (event->priority < match->min_priority || event->priority > match->max_priority)
		return false;
	if (match->all_queues)
		return match->prefix_length == 0 ||
			   (event->length > match->prefix_length &&
				hash(event->queue, match->prefix_length) == match->prefix);
	queue = hash(event->queue, event->length);
	for (int i = 0; i < match->nqueues; i++)
		if (match->queues[i] == queue)
			return true;
	return false;
}

/* ---- waking; the lock is held ---- */

static void
stop_waiting(Session *session)
{
	if (session->state == SESSION_WAITING)
	{
		dlist_delete(&session->node);
		pg_atomic_fetch_sub_u32(&waiters->nwaiting, 1);
	}
	session->state = SESSION_BUSY;
	session->notify = false;
}

/* No rest is longer than the longest; unless the clock was set back. */
static bool
rests(const Session *session, TimestampTz now)
{
	return session->rests_until > now && session->rests_until <= now + LONGEST_PAUSE;
}

static void
wake(Session *session, const LaneTag *event, LaneKey from, uint64 sequence, TimestampTz now)
{
	stop_waiting(session);
	session->state = SESSION_WOKEN;
	session->woken = sequence;
	session->reminder = FIRST_REMINDER;
	session->overdue_at = now + FIRST_REMINDER;
	session->passed_on = false;
	session->event = *event;
	session->from = from;
	if (session->by_latch)
		SetLatch(&ProcGlobal->allProcs[session - waiters->sessions].procLatch);
	else
		session->notify = true;
}

/* Wakes at most so many sessions that have been waiting since before the event, rather not those
 * that rest. Returns how many; *notify is whether one of them is to be notified. */
static int
wake_matching(const LaneTag *event, LaneKey from, uint64 sequence, int64 count, bool *notify)
{
	int woken = 0;
	TimestampTz now = GetCurrentTimestamp();

	*notify = false;
	for (int resting = 0; resting <= 1 && woken < count; resting++)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, &waiters->waiting)
		{
			Session *session = dlist_container(Session, node, iter.cur);

			if (woken == count)
				break;
			if (session->database != event->database || session->waiting_since > sequence ||
				rests(session, now) != resting || !matches(&session->match, event))
				continue;
			wake(session, event, from, sequence, now);
			*notify |= session->notify;
			woken++;
		}
	}
	return woken;
}

/* Passes on a call that the session did not follow. Returns whether there is something to notify.
 */
static bool
pass_on(Session *session)
{
	bool notify;

	if (session->state != SESSION_WOKEN || session->passed_on)
		return false;
	session->passed_on = true;
	(void) wake_matching(&session->event, session->from, session->woken, 1, &notify);
	return notify;
}

/* ---- for the checkout ---- */

uint64
waiter_events(void)
{
	uint64 events = haul_is_preloaded() ? pg_atomic_read_u64(&waiters->events) : 0;

	pg_read_barrier();
	return events;
}

/* The lock is held. */
static void
forget_departure(Oid database, int64 worker)
{
	for (int i = 0; i < MAX_DEPARTURES; i++)
		if (waiters->departed[i].departure.worker == worker &&
			waiters->departed[i].database == database)
			waiters->departed[i].departure.worker = 0;
}

/* The lock is held. */
static bool
has_session(Oid database, int64 worker)
{
	for (int i = 0; i < MaxBackends; i++)
		if (waiters->sessions[i].worker == worker && waiters->sessions[i].owned &&
			waiters->sessions[i].database == database)
			return true;
	return false;
}

/* The lock is held. */
static void
note_departure(Oid database, int64 worker, pid_t process)
{
	/* without room for all, the oldest is found by its silence */
	Departed *place = &waiters->departed[0];

	for (int i = 1; i < MAX_DEPARTURES && place->departure.worker != 0; i++)
		if (waiters->departed[i].departure.worker == 0 ||
			waiters->departed[i].departure.at < place->departure.at)
			place = &waiters->departed[i];
	place->database = database;
	place->departure.worker = worker;
	place->departure.at = GetCurrentTimestamp();
	place->departure.process = process;
}

static void
session_ends(int code, Datum arg)
{
	Session *session = mine();
	Oid database = session->database;
	int64 worker;
	bool owned;
	bool call = false;

	lock();
	worker = session->worker;
	owned = session->owned;
	session->worker = 0;
	session->owned = false;
	/* without anybody who waits, the background worker may end */
	call = session->state != SESSION_BUSY;
	(void) pass_on(session);
	stop_waiting(session);
	if (worker != 0 && owned && !has_session(database, worker))
	{
		note_departure(database, worker, session->process);
		call = true;
	}
	unlock();
	if (call)
		database_wake_worker(database);
}

/* Binds the session to the worker; on behalf of another one it does not wait any more. */
static void
bind(const Worker *worker, bool owns, bool stop)
{
	static bool registered = false;
	pid_t process;
	Session *session;
	bool notify = false;

	if (!haul_is_preloaded())
		return;
	if (!registered)
	{
		before_shmem_exit(session_ends, (Datum) 0);
		registered = true;
	}
	session = mine();
	owns |= worker->wake == WAKE_WORKER;
	if (session->worker == worker->id && session->database == MyDatabaseId &&
		session->owned >= owns && (!stop || session->state == SESSION_BUSY))
		return;

	process = owns ? client_process() : 0;
	lock();
	if (session->worker != worker->id)
	{
		notify = pass_on(session);
		stop_waiting(session);
		session->owned = false;
	}
	else if (session->state == SESSION_WOKEN)
		session->notify =
			false; /* stays woken until its look is over, lest an error lose the call */
	else
		stop_waiting(session);
	session->database = MyDatabaseId;
	session->worker = worker->id;
	session->wake = worker->wake;
	if (owns && !session->owned)
		session->process = process;
	session->owned |= owns;
	forget_departure(MyDatabaseId, worker->id);
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

void
waiter_bind(const Worker *worker, bool owns)
{
	bind(worker, owns, false);
}

void
waiter_enter(const Worker *worker)
{
	bind(worker, false, true);
}

bool
waiter_wait(const Worker *worker, bool by_latch, uint64 events)
{
	Session *session;

	if (!haul_is_preloaded() || (worker->wake == WAKE_NONE && !by_latch))
		return false;
	session = mine();
	lock();
	stop_waiting(session);
	make_match(&session->match, worker);
	session->by_latch = by_latch;
	session->state = SESSION_WAITING;
	session->waiting_since = ++waiters->sequence;
	dlist_push_tail(&waiters->waiting, &session->node);
	pg_atomic_fetch_add_u32(&waiters->nwaiting, 1);
	unlock();
	database_want_worker();
	return pg_atomic_read_u64(&waiters->events) != events;
}

void
waiter_leave(void)
{
	bool notify;

	if (!haul_is_preloaded())
		return;
	lock();
	/* a call that came while it looked may be for a job that it could not see */
	notify = pass_on(mine());
	stop_waiting(mine());
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

void
waiter_wake_myself(void)
{
	LaneTag any = {.database = MyDatabaseId};
	bool notify = false;

	if (!waiter_is_waiting())
		return;
	lock();
	if (mine()->state == SESSION_WAITING)
	{
		wake(mine(), &any, LANE_LOWEST, ++waiters->sequence, GetCurrentTimestamp());
		mine()->passed_on = true; /* nobody else is needed */
		notify = mine()->notify;
	}
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

bool
waiter_was_woken(LaneTag *event, LaneKey *from)
{
	bool woken = false;

	if (!haul_is_preloaded() || mine()->state != SESSION_WOKEN)
		return false;
	lock();
	if (mine()->state == SESSION_WOKEN && !mine()->passed_on)
	{
		*event = mine()->event;
		*from = mine()->from;
		woken = true;
	}
	unlock();
	return woken;
}

void
waiter_looked(bool found, bool others_needed)
{
	Session *session;
	bool notify = false;

	if (!haul_is_preloaded() || mine()->state != SESSION_WOKEN)
		return;
	session = mine();
	lock();
	if (others_needed)
		notify = pass_on(session);
	stop_waiting(session);
	if (found)
		session->pause = 0;
	else
	{
		session->pause = session->pause == 0 ? FIRST_PAUSE : Min(2 * session->pause, LONGEST_PAUSE);
		session->rests_until = GetCurrentTimestamp() + session->pause;
	}
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

TimestampTz
waiter_rests_until(void)
{
	return haul_is_preloaded() && rests(mine(), GetCurrentTimestamp()) ? mine()->rests_until : 0;
}

bool
waiter_is_waiting(void)
{
	return haul_is_preloaded() && ((volatile Session *) mine())->state == SESSION_WAITING;
}

/* ---- at the end of a transaction ---- */

bool
waiter_any(void)
{
	return pg_atomic_read_u32(&waiters->nwaiting) > 0;
}

int
waiter_wake(const LaneTag *tag, LaneKey from, int64 jobs)
{
	bool notify;
	int woken;

	pg_atomic_fetch_add_u64(&waiters->events, 1);
	if (!waiter_any())
		return 0;
	lock();
	woken = wake_matching(tag, from, ++waiters->sequence, jobs, &notify);
	unlock();
	if (notify)
		database_wake_worker(tag->database);
	return woken;
}

void
waiter_worker_gone(int64 worker)
{
	bool notify = false;

	if (!haul_is_preloaded())
		return;
	lock();
	forget_departure(MyDatabaseId, worker);
	for (int i = 0; i < MaxBackends; i++)
	{
		Session *session = &waiters->sessions[i];

		if (session->worker != worker || session->database != MyDatabaseId)
			continue;
		notify |= pass_on(session);
		stop_waiting(session);
		/* one that waited in haul.checkout_wait learns of it */
		if (session->by_latch)
			SetLatch(&ProcGlobal->allProcs[i].procLatch);
		session->worker = 0;
		session->owned = false;
	}
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

/* ---- for the background worker ---- */

int
waiter_count(Oid database)
{
	int count = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends; i++)
		if (waiters->sessions[i].state != SESSION_BUSY && waiters->sessions[i].database == database)
			count++;
	unlock();
	return count;
}

int
waiter_notices(Oid database, Notice *notices, int max, TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	int count = 0;

	*next = DT_NOEND;
	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends && count < max; i++)
	{
		Session *session = &waiters->sessions[i];
		Notice *notice = &notices[count];

		if (!session->notify || session->database != database)
			continue;
		if (rests(session, now))
		{
			*next = Min(*next, session->rests_until);
			continue;
		}
		notice->session = i;
		notice->woken = session->woken;
		notice->worker = session->wake == WAKE_WORKER ? session->worker : 0;
		notice->length = session->event.length;
		memcpy(notice->queue, session->event.queue, notice->length);
		notice->queue[notice->length] = '\0';
		count++;
	}
	unlock();
	return count;
}

void
waiter_notices_sent(const Notice *notices, int count)
{
	lock();
	for (int i = 0; i < count; i++)
	{
		Session *session = &waiters->sessions[notices[i].session];

		if (session->woken == notices[i].woken)
			session->notify = false;
	}
	unlock();
}

TimestampTz
waiter_remind_overdue(Oid database, TimestampTz now)
{
	TimestampTz next = DT_NOEND;

	lock();
	for (int i = 0; i < MaxBackends; i++)
	{
		Session *session = &waiters->sessions[i];

		if (session->state != SESSION_WOKEN || session->database != database)
			continue;
		if (session->overdue_at <= now)
		{
			(void) pass_on(session);
			session->notify = !session->by_latch;
			session->reminder = Min(2 * session->reminder, LONGEST_REMINDER);
			session->overdue_at = now + session->reminder;
		}
		next = Min(next, session->overdue_at);
	}
	unlock();
	return next;
}

int
waiter_departures(Oid database, Departure *departures)
{
	int count = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MAX_DEPARTURES; i++)
		if (waiters->departed[i].departure.worker != 0 && waiters->departed[i].database == database)
			departures[count++] = waiters->departed[i].departure;
	unlock();
	return count;
}

bool
waiter_take_departure(Oid database, const Departure *departure)
{
	bool taken = false;

	lock();
	for (int i = 0; i < MAX_DEPARTURES; i++)
	{
		Departed *departed = &waiters->departed[i];

		if (departed->departure.worker != departure->worker || departed->database != database)
			continue;
		taken = departed->departure.at == departure->at;
		if (taken)
			departed->departure.worker = 0;
	}
	unlock();
	return taken;
}

int
waiter_backends(Oid database, int64 worker, int *pids, int max)
{
	int count = 0;

	if (!haul_is_preloaded())
		return 0;
	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends && count < max; i++)
		if (waiters->sessions[i].worker == worker && waiters->sessions[i].owned &&
			waiters->sessions[i].database == database)
			pids[count++] = ProcGlobal->allProcs[i].pid;
	unlock();
	return count;
}
