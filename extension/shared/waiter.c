/*
 * waiter.c: sessions that wait for work, in shared memory.
 *
 * Every backend has a place, found by its number. All of it is guarded by
 * HAUL_LOCK_WAITERS, but for what only the backend itself changes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/client_process.h"
#include "base/names.h"
#include "base/shmem.h"
#include "shared/database.h"
#include "shared/subscription.h"
#include "shared/waiter.h"

/* For so long after it was woken, or began to look, more jobs are left to a session that has room.
 * One that takes longer may be slow, or frozen. */
#define COUNTED_ON_FOR (10 * 1000) /* microseconds */

/* One that does not come is reminded, in growing intervals: its NOTIFY may have got lost on the
 * way. */
#define FIRST_REMINDER USECS_PER_SEC
#define LONGEST_REMINDER (32 * USECS_PER_SEC)

typedef enum SessionState
{
	SESSION_BUSY,
	SESSION_WAITING, /* in the list of its subscription */
	SESSION_WOKEN,	 /* and not done with its look */
} SessionState;

typedef struct Session
{
	dlist_node node; /* in the list of waiting sessions */
	Oid database;
	int64 worker;	 /* 0: none */
	bool owned;		 /* by the worker: no pooler's, nobody else's */
	pid_t process;	 /* at the other end of an owned session, on this machine; 0: unknown */
	uint64 name;	 /* the worker's, hashed */
	WorkerWake wake; /* how the worker wants to be woken */
	Subscription *subscription; /* NULL: it has not waited for this worker yet */
	int pid;
	int backend; /* number, for signals */
	bool by_latch;
	SessionState state;
	uint64 waiting_since; /* by the sequence */
	uint64 looks_since;	  /* by the sequence; later calls may be for what it does not see */
	int room;			  /* for so many jobs */
	WaiterCall calls[WAITER_CALLS];
	int ncalls;
	uint64 woken;			/* by the sequence, the last time */
	TimestampTz counted_on; /* until then */
	TimestampTz overdue_at; /* if it has not come by then, it is reminded */
	int64 reminder;			/* microseconds from that to the next one */
	bool tell;				/* it is to tell its client itself */
	bool notify;			/* a NOTIFY is to be sent */
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
	uint64 sequence;		   /* orders calls, waits and looks */
	pg_atomic_uint64 wakeups;  /* so far */
	Departed departed[MAX_DEPARTURES];
	Session sessions[FLEXIBLE_ARRAY_MEMBER];
} Waiters;

static Waiters *waiters;

static Size
sessions_size(void)
{
	return MAXALIGN(offsetof(Waiters, sessions) + mul_size(MaxBackends, sizeof(Session)));
}

Size
waiter_shmem_size(void)
{
	return add_size(sessions_size(), subscription_shmem_size());
}

void
waiter_shmem_attach(void *memory, bool found)
{
	waiters = memory;
	subscription_shmem_attach((char *) memory + sessions_size(), found);
	if (found)
		return;
	pg_atomic_init_u64(&waiters->events, 1);
	pg_atomic_init_u64(&waiters->wakeups, 0);
	pg_atomic_init_u32(&waiters->nwaiting, 0);
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

/* ---- telling ---- */

/*
 * Tells the client of a session that there is work; the lock is held. Returns whether the
 * background worker has to do it. A session of a worker that has a channel of its own does it
 * itself: it takes the signal for one that notifications have come, looks for them in a transaction
 * if it LISTENs, and says so when that commits. So it costs nobody else anything; a real NOTIFY
 * would wake all sessions of the database that LISTEN.
 */
static bool
tell(Session *session)
{
	if (session->by_latch)
		SetLatch(&ProcGlobal->allProcs[session - waiters->sessions].procLatch);
	else if (session->wake == WAKE_WORKER)
	{
		session->tell = true;
		if (session->pid != MyProcPid)
			(void) SendProcSignal(session->pid, PROCSIG_NOTIFY_INTERRUPT, session->backend);
	}
	else
		session->notify = true;
	return session->notify;
}

/* When a transaction of the session commits; before, since it allocates. */
static void
tell_client(XactEvent event, void *arg)
{
	char channel[64];

	if (event != XACT_EVENT_PRE_COMMIT || !mine()->tell)
		return;
	lock();
	mine()->tell = false;
	snprintf(channel, sizeof(channel), "haul_worker_" INT64_FORMAT, mine()->worker);
	unlock();
	NotifyMyFrontEnd(channel, "", MyProcPid);
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
	session->tell = session->notify = false;
}

/* Returns whether the background worker has to notify it. */
static bool
wake(Session *session, uint64 sequence, TimestampTz now)
{
	stop_waiting(session);
	session->state = SESSION_WOKEN;
	session->woken = sequence;
	session->counted_on = now + COUNTED_ON_FOR;
	session->reminder = FIRST_REMINDER;
	session->overdue_at = now + FIRST_REMINDER;
	session->subscription->woken = session;
	return tell(session);
}

/* False when it has been called for too much else. */
static bool
add_call(Session *session, const Work *work, uint64 sequence, int64 jobs)
{
	WaiterCall *call = NULL;

	for (int i = 0; i < session->ncalls && call == NULL; i++)
		if (audience_is(&session->calls[i].work.audience, &work->audience) &&
			memcmp(&session->calls[i].work.lane, &work->lane, sizeof(LaneTag)) == 0)
			call = &session->calls[i];
	if (call != NULL)
	{
		call->work.from = lane_key_min(call->work.from, work->from);
		call->work.jobs += jobs;
		call->sequence = Max(call->sequence, sequence);
		return true;
	}
	if (session->ncalls == WAITER_CALLS)
		return false;
	call = &session->calls[session->ncalls++];
	call->work = *work;
	call->work.jobs = jobs;
	call->sequence = sequence;
	return true;
}

static void
remove_call(Session *session, int i)
{
	session->calls[i] = session->calls[--session->ncalls];
}

static int64
room_left(const Session *session)
{
	int64 room = session->room;

	for (int i = 0; i < session->ncalls; i++)
		room -= session->calls[i].work.jobs;
	return room;
}

/* Leaves jobs to sessions that have been woken, and have room for more. Returns how many jobs; adds
 * to *called how many sessions. */
static int64
count_on_woken(const Work *work, uint64 sequence, TimestampTz now, int *called)
{
	int64 jobs = 0;
	SubscriptionScan scan;
	Subscription *subscription;

	subscription_scan(&scan, &work->lane, &work->audience);
	while (jobs < work->jobs && (subscription = subscription_next(&scan)) != NULL)
	{
		Session *session = subscription->woken;
		int64 room;

		if (session == NULL || session->subscription != subscription ||
			session->state != SESSION_WOKEN || session->counted_on < now ||
			!audience_admits(&work->audience, session->name))
			continue;
		room = Min(room_left(session), work->jobs - jobs);
		if (room > 0 && add_call(session, work, sequence, room))
		{
			jobs += room;
			++*called;
		}
	}
	return jobs;
}

/* Of the sessions that have been waiting since before the event, the last to begin. */
static Session *
find_waiting(const Work *work, uint64 sequence)
{
	Session *newest = NULL;
	SubscriptionScan scan;
	Subscription *subscription;

	subscription_scan(&scan, &work->lane, &work->audience);
	while ((subscription = subscription_next(&scan)) != NULL)
	{
		dlist_iter iter;

		dlist_foreach(iter, &subscription->waiting)
		{
			Session *session = dlist_container(Session, node, iter.cur);

			if (newest != NULL && session->waiting_since < newest->waiting_since)
				break;
			if (session->waiting_since <= sequence &&
				audience_admits(&work->audience, session->name))
			{
				newest = session;
				break;
			}
		}
	}
	return newest;
}

/* Wakes such sessions, until they have room for so many jobs. Returns how many; sets *notify if the
 * background worker has to notify one of them. */
static int
wake_waiting(const Work *work, uint64 sequence, int64 jobs, TimestampTz now, bool *notify)
{
	int woken = 0;
	Session *session;

	while (jobs > 0 && (session = find_waiting(work, sequence)) != NULL)
	{
		int64 share = Min(jobs, session->room);

		*notify |= wake(session, sequence, now);
		(void) add_call(session, work, sequence, share);
		jobs -= share;
		woken++;
	}
	pg_atomic_fetch_add_u64(&waiters->wakeups, woken);
	return woken;
}

/* Passes on all that the session owes. Returns whether there is something to notify. */
static bool
pass_on_all(Session *session)
{
	bool notify = false;

	while (session->ncalls > 0)
	{
		WaiterCall call = session->calls[0];

		remove_call(session, 0);
		(void) wake_waiting(&call.work, call.sequence, call.work.jobs, GetCurrentTimestamp(),
							&notify);
	}
	return notify;
}

/* It does not wait for anybody any more. Returns whether there is something to notify. */
static bool
give_up_waiting(Session *session)
{
	bool notify = pass_on_all(session);

	stop_waiting(session);
	if (session->subscription != NULL)
		subscription_leave(session->subscription);
	session->subscription = NULL;
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
	(void) give_up_waiting(session);
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
bind(const Worker *worker, bool owns, bool looks)
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
		RegisterXactCallback(tell_client, NULL);
		registered = true;
	}
	session = mine();
	owns |= worker->wake == WAKE_WORKER;
	if (session->worker == worker->id && session->database == MyDatabaseId &&
		session->owned >= owns && (!looks || session->state == SESSION_BUSY))
		return;

	process = owns ? client_process() : 0;
	lock();
	if (session->worker != worker->id || session->database != MyDatabaseId)
	{
		notify = give_up_waiting(session);
		session->owned = false;
	}
	else if (session->state == SESSION_WOKEN)
	{
		/* stays woken until its look is over, so that an error does not lose the calls */
		session->tell = session->notify = false;
		session->looks_since = ++waiters->sequence;
		session->counted_on = GetCurrentTimestamp() + COUNTED_ON_FOR;
		if (!subscription_is_of(session->subscription, worker))
			notify = pass_on_all(session);
	}
	else
	{
		notify = pass_on_all(session);
		stop_waiting(session);
	}
	session->database = MyDatabaseId;
	session->worker = worker->id;
	session->name = name_hash(worker->name, 0);
	session->wake = worker->wake;
	session->pid = MyProcPid;
	session->backend = haul_my_backend();
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

/* Whether a look that left room has seen to all that the session was called for. */
static bool
takes_surely(const Session *session, const WaiterCall *call)
{
	return !session->subscription->vague && audience_is_exact(&call->work.audience);
}

int
waiter_looked(bool has_room, WaiterCall *calls)
{
	Session *session;
	int count = 0;

	if (!haul_is_preloaded() || mine()->ncalls == 0)
		return 0;
	session = mine();
	lock();
	for (int i = session->ncalls - 1; i >= 0; i--)
	{
		const WaiterCall *call = &session->calls[i];
		bool late = call->sequence > session->looks_since;

		if (has_room && late)
			continue;
		if ((has_room && takes_surely(session, call)) ||
			find_waiting(&call->work, call->sequence) == NULL)
			remove_call(session, i);
		else
			calls[count++] = *call;
	}
	unlock();
	return count;
}

void
waiter_pass_on(const Work *left, uint64 sequence)
{
	bool notify = false;

	lock();
	(void) wake_waiting(left, sequence, left->jobs, GetCurrentTimestamp(), &notify);
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

void
waiter_passed_on(const WaiterCall *calls, int count)
{
	Session *session = mine();

	lock();
	for (int i = 0; i < count; i++)
		for (int j = session->ncalls - 1; j >= 0; j--)
			if (session->calls[j].sequence == calls[i].sequence &&
				session->calls[j].work.jobs == calls[i].work.jobs)
				remove_call(session, j);
	unlock();
}

bool
waiter_wait(const Worker *worker, bool by_latch, int room, uint64 events)
{
	Session *session;
	bool again;

	if (!haul_is_preloaded())
		return false;
	if (worker->wake == WAKE_NONE && !by_latch)
	{
		waiter_leave();
		return false;
	}
	session = mine();
	lock();
	stop_waiting(session);
	if (session->subscription != NULL && !subscription_is_of(session->subscription, worker))
	{
		subscription_leave(session->subscription);
		session->subscription = NULL;
	}
	if (session->subscription == NULL)
		session->subscription = subscription_join(worker);
	session->by_latch = by_latch;
	session->room = room;
	session->state = SESSION_WAITING;
	session->waiting_since = session->looks_since = ++waiters->sequence;
	dlist_push_head(&session->subscription->waiting, &session->node);
	pg_atomic_fetch_add_u32(&waiters->nwaiting, 1);
	again = session->ncalls > 0 || pg_atomic_read_u64(&waiters->events) != events;
	unlock();
	database_want_worker();
	return again;
}

void
waiter_leave(void)
{
	bool notify;

	if (!haul_is_preloaded() || mine()->state == SESSION_BUSY)
		return;
	lock();
	/* what it has been called for while it looked may be a job that it could not see */
	notify = pass_on_all(mine());
	stop_waiting(mine());
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
}

void
waiter_wake_myself(void)
{
	bool notify = false;

	if (!waiter_is_waiting())
		return;
	lock();
	if (mine()->state == SESSION_WAITING)
		notify = wake(mine(), ++waiters->sequence, GetCurrentTimestamp());
	unlock();
	if (notify)
		database_wake_worker(MyDatabaseId);
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

/* Whether anybody may be called for it, whom the commits of jobs for others need not queue up to
 * find out. Whoever begins to wait after this sees that there was an event. */
static bool
anybody_takes(const Work *work)
{
	SubscriptionScan scan;
	Subscription *subscription;
	bool found = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	subscription_scan(&scan, &work->lane, &work->audience);
	while (!found && (subscription = subscription_next(&scan)) != NULL)
		found = subscription->woken != NULL || !dlist_is_empty(&subscription->waiting);
	unlock();
	return found;
}

int
waiter_wake(const Work *work)
{
	bool notify = false;
	int called = 0;
	TimestampTz now;
	int64 left;

	pg_atomic_fetch_add_u64(&waiters->events, 1);
	if (!waiter_any() || !anybody_takes(work))
		return 0;
	now = GetCurrentTimestamp();
	lock();
	waiters->sequence++;
	left = work->jobs - count_on_woken(work, waiters->sequence, now, &called);
	called += wake_waiting(work, waiters->sequence, left, now, &notify);
	unlock();
	if (notify)
		database_wake_worker(work->lane.database);
	return called;
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
		notify |= give_up_waiting(session);
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

uint64
waiter_wakeups(void)
{
	return pg_atomic_read_u64(&waiters->wakeups);
}

int
waiter_notices(Oid database, Notice *notices, int max)
{
	int count = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_WAITERS), LW_SHARED);
	for (int i = 0; i < MaxBackends && count < max; i++)
	{
		const Session *session = &waiters->sessions[i];
		Notice *notice = &notices[count];

		if (!session->notify || session->database != database)
			continue;
		notice->session = i;
		notice->woken = session->woken;
		notice->worker = session->wake == WAKE_WORKER ? session->worker : 0;
		notice->length = session->ncalls > 0 ? session->calls[0].work.lane.length : 0;
		memcpy(notice->queue, session->calls[0].work.lane.queue, notice->length);
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

		if (session->database != database ||
			(session->state != SESSION_WOKEN && session->ncalls == 0))
			continue;
		if (session->overdue_at <= now)
		{
			(void) pass_on_all(session);
			/* not by itself any more: perhaps another session of the worker LISTENs */
			session->notify = session->state == SESSION_WOKEN && !session->by_latch;
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
