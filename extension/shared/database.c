/*
 * database.c: which databases a background worker serves, in shared memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "shared/database.h"

#define IDLE_INTERVAL (5 * USECS_PER_MINUTE) /* between maintenance when nothing happens */
#define START_AHEAD (USECS_PER_SEC / 2)		 /* of a tick: a process takes its time to start */

/* All fields are guarded by HAUL_LOCK_DATABASES; "served", "active" and "watching" are also read
 * or set without it, being single bytes. */
typedef struct Database
{
	Oid oid; /* invalid: not in use */
	DatabaseState state;
	bool listed; /* to be served */
	bool served;
	bool maintaining;
	bool active; /* something happened since the last maintenance */
	TimestampTz maintained_at;
	TimestampTz expiry_at; /* a job is past its queue timeout then */
	TimestampTz clocks[DATABASE_CLOCKS];
	bool taken[DATABASE_CLOCKS]; /* and not planned again yet */
	bool watching;				 /* the worker knows that there are workers of ours to be watched */
	bool wanted;				 /* the worker is needed before run_at */
	bool ended;					 /* the worker ended by itself */
	PGPROC *worker;
	int worker_pid; /* 0: none is running */
	TimestampTz run_at;
} Database;

typedef struct Databases
{
	PGPROC *launcher; /* NULL: not running */
	int launcher_pid;
	bool requested; /* something happens in a database without a slot */
	bool announced; /* the extension was created in one */
	Database slots[MAX_DATABASES];
} Databases;

static Databases *databases;
static bool is_worker = false; /* this process is one of a database */

Size
database_shmem_size(void)
{
	return sizeof(Databases);
}

void
database_shmem_attach(void *memory, bool found)
{
	databases = memory;
}

/* The lock is held. */
static Database *
slot_find(Oid database)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (databases->slots[i].oid == database)
			return &databases->slots[i];
	return NULL;
}

static void
databases_lock(LWLockMode mode)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), mode);
}

static void
databases_unlock(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

/* Locks, and finds the slot of a database: NULL when it has none. In both cases databases_unlock()
 * must follow. */
static Database *
slot_lock(Oid database, LWLockMode mode)
{
	databases_lock(mode);
	return slot_find(database);
}

/* The slot of the current database, whose place is remembered; NULL when it has none. */
static Database *
slot_of_ours(void)
{
	static int place = 0;

	if (!haul_is_preloaded())
		return NULL;
	if (databases->slots[place].oid == MyDatabaseId)
		return &databases->slots[place];
	for (int i = 0; i < MAX_DATABASES; i++)
		if (databases->slots[i].oid == MyDatabaseId)
		{
			place = i;
			return &databases->slots[i];
		}
	return NULL;
}

/* ---- for everybody ---- */

bool
database_is_served(void)
{
	Database *slot = slot_of_ours();

	return slot != NULL && slot->served;
}

static void
wake_launcher(void)
{
	if (databases->launcher != NULL)
		SetLatch(&databases->launcher->procLatch);
}

/* The lock is held. */
static TimestampTz
maintenance_due(const Database *slot)
{
	TimestampTz due = slot->maintained_at +
					  (slot->active ? haul_maintenance_interval * USECS_PER_SEC : IDLE_INTERVAL);

	return slot->maintained_at == 0 ? 0 : Min(due, slot->expiry_at);
}

/* The lock is held. */
static TimestampTz
worker_due(const Database *slot)
{
	TimestampTz due = maintenance_due(slot);
	TimestampTz tick = slot->clocks[DATABASE_TICK];

	return TIMESTAMP_IS_NOEND(tick) ? due : Min(due, tick - START_AHEAD);
}

void
database_note_activity(void)
{
	Database *slot = slot_of_ours();

	if (!haul_is_preloaded() || is_worker)
		return;
	if (slot == NULL ? databases->requested : slot->active && slot->state != DATABASE_ABSENT)
		return;

	slot = slot_lock(MyDatabaseId, LW_EXCLUSIVE);
	if (slot == NULL)
		databases->requested = true; /* the launcher does not know this database yet */
	else
	{
		slot->active = true;
		slot->run_at = Min(slot->run_at, maintenance_due(slot));
		if (slot->state == DATABASE_ABSENT)
		{
			slot->state = DATABASE_UNKNOWN;
			slot->wanted = true;
		}
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch);
	}
	wake_launcher();
	databases_unlock();
}

void
database_wake_worker(Oid database)
{
	Database *slot = slot_lock(database, LW_SHARED);

	if (slot != NULL)
	{
		/* set first: a worker about to end looks at it under the exclusive lock */
		slot->wanted = true;
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch);
		else
			wake_launcher();
	}
	databases_unlock();
}

bool
database_worker_runs(void)
{
	Database *slot = slot_of_ours();

	return slot != NULL && slot->worker_pid != 0;
}

void
database_want_worker(void)
{
	Database *slot = slot_of_ours();

	if (slot != NULL && slot->worker_pid == 0)
		database_wake_worker(MyDatabaseId);
}

void
database_want_watch(void)
{
	Database *slot = slot_of_ours();

	if (slot != NULL && !slot->watching)
		database_wake_worker(MyDatabaseId);
}

bool
database_plan(Oid database, DatabaseClock clock, TimestampTz at)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);
	bool sooner = false;

	if (slot != NULL)
	{
		sooner = at < slot->clocks[clock];
		slot->clocks[clock] = Min(slot->clocks[clock], at);
		slot->taken[clock] = false;
	}
	databases_unlock();
	return sooner;
}

void
database_cron_changed(void)
{
	Database *slot;

	if (!haul_is_preloaded() || is_worker)
		return;
	slot = slot_lock(MyDatabaseId, LW_EXCLUSIVE);
	if (slot != NULL)
	{
		slot->clocks[DATABASE_TICK] = 0;
		slot->wanted = true;
		if (slot->state == DATABASE_ABSENT)
			slot->state = DATABASE_UNKNOWN;
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch);
	}
	else
		databases->requested = true;
	wake_launcher();
	databases_unlock();
}

void
database_announce(void)
{
	Database *slot;

	if (!haul_is_preloaded())
		return;
	slot = slot_lock(MyDatabaseId, LW_EXCLUSIVE);
	if (slot != NULL)
	{
		slot->state = DATABASE_UNKNOWN;
		slot->wanted = true;
	}
	else
		databases->announced = true;
	wake_launcher();
	databases_unlock();
}

void
database_status(DatabaseStatus *status)
{
	Database *slot;

	memset(status, 0, sizeof(DatabaseStatus));
	if (!haul_is_preloaded())
		return;
	databases_lock(LW_SHARED);
	status->launcher_pid = databases->launcher_pid;
	slot = slot_find(MyDatabaseId);
	if (slot != NULL)
	{
		status->worker_pid = slot->worker_pid;
		status->served = slot->served;
	}
	databases_unlock();
}

/* ---- for the launcher ---- */

static void
launcher_ended(int code, Datum arg)
{
	databases_lock(LW_EXCLUSIVE);
	databases->launcher = NULL;
	databases->launcher_pid = 0;
	for (int i = 0; i < MAX_DATABASES; i++)
		databases->slots[i].served = false;
	databases_unlock();
}

void
database_launcher_began(void)
{
	databases_lock(LW_EXCLUSIVE);
	databases->launcher = MyProc;
	databases->launcher_pid = MyProcPid;
	databases_unlock();
	before_shmem_exit(launcher_ended, (Datum) 0);
}

bool
database_select(Oid database)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot == NULL)
	{
		slot = slot_find(InvalidOid);
		if (slot != NULL)
		{
			memset(slot, 0, sizeof(Database));
			slot->state = DATABASE_UNKNOWN;
			slot->ended = true;
			slot->clocks[DATABASE_DUE] = DT_NOEND;
			slot->expiry_at = DT_NOEND;
			slot->oid = database;
		}
	}
	if (slot != NULL && !slot->listed)
	{
		slot->listed = true;
		slot->wanted = true;
	}
	databases_unlock();
	return slot != NULL;
}

int
database_keep_only(const Oid *kept, int count, Oid *freed)
{
	int nfreed = 0;

	databases_lock(LW_EXCLUSIVE);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		Database *slot = &databases->slots[i];
		bool keep = false;

		for (int j = 0; j < count && !keep; j++)
			keep = slot->oid == kept[j];
		if (keep || !OidIsValid(slot->oid))
			continue;
		slot->listed = false;
		slot->served = false;
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch); /* it ends, and the slot is freed the next time */
		else
		{
			freed[nfreed++] = slot->oid;
			slot->oid = InvalidOid;
		}
	}
	databases_unlock();
	return nfreed;
}

int
database_list(DatabaseView *views)
{
	int count = 0;

	databases_lock(LW_SHARED);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		Database *slot = &databases->slots[i];

		if (!OidIsValid(slot->oid) || !slot->listed)
			continue;
		views[count].oid = slot->oid;
		views[count].state = slot->state;
		views[count].running = slot->worker_pid != 0;
		views[count].wanted = slot->wanted;
		views[count].run_at = slot->run_at;
		views[count].planned = !TIMESTAMP_IS_NOEND(slot->clocks[DATABASE_TICK]);
		count++;
	}
	databases_unlock();
	return count;
}

bool
database_is_requested(bool *urgent)
{
	bool requested;

	databases_lock(LW_SHARED);
	*urgent = databases->announced;
	requested = databases->announced || databases->requested;
	databases_unlock();
	return requested;
}

void
database_requests_met(void)
{
	databases_lock(LW_EXCLUSIVE);
	databases->requested = false;
	databases->announced = false;
	databases_unlock();
}

void
database_worker_starts(Oid database)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
		slot->ended = false;
	databases_unlock();
}

bool
database_worker_ended(Oid database)
{
	Database *slot = slot_lock(database, LW_SHARED);
	bool ended;

	ended = slot == NULL || slot->ended;
	databases_unlock();
	return ended;
}

void
database_worker_fails(Oid database, TimestampTz retry_at)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
	{
		slot->served = false;
		slot->wanted = false;
		slot->ended = true;
		slot->run_at = retry_at;
	}
	databases_unlock();
}

/* ---- for the worker of a database ---- */

static void
worker_gone(int code, Datum database)
{
	Database *slot = slot_lock(DatumGetObjectId(database), LW_EXCLUSIVE);

	if (slot != NULL && slot->worker_pid == MyProcPid)
	{
		slot->worker = NULL;
		slot->worker_pid = 0;
		slot->active |= slot->maintaining; /* it broke off */
		slot->maintaining = false;
		slot->watching = false;
		/* what broke off is not the first thing that the next one tries again */
		for (int clock = 0; clock < DATABASE_CLOCKS; clock++)
			if (slot->taken[clock])
				slot->clocks[clock] =
					Min(slot->clocks[clock], GetCurrentTimestamp() + CLOCK_INTERVAL);
		memset(slot->taken, 0, sizeof(slot->taken));
		wake_launcher();
	}
	databases_unlock();
}

bool
database_worker_began(Oid database)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);
	bool began = false;

	if (slot != NULL && slot->listed && slot->worker_pid == 0)
	{
		slot->worker = MyProc;
		slot->worker_pid = MyProcPid;
		slot->wanted = false;
		began = true;
	}
	databases_unlock();
	is_worker = true;
	if (began)
		before_shmem_exit(worker_gone, ObjectIdGetDatum(database));
	return began;
}

void
database_set_state(Oid database, DatabaseState state)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
	{
		if (slot->state == DATABASE_UNKNOWN)
			wake_launcher(); /* the next one's turn to be found out about */
		slot->state = state;
		if (state != DATABASE_PRESENT)
			slot->served = false;
	}
	databases_unlock();
}

void
database_serve(Oid database)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL && slot->listed)
		slot->served = true;
	databases_unlock();
}

bool
database_take_wanted(Oid database)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);
	bool listed;

	listed = slot != NULL && slot->listed;
	if (listed)
		slot->wanted = false;
	databases_unlock();
	return listed;
}

bool
database_worker_ends(Oid database, TimestampTz not_before)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);
	bool ends = true;

	if (slot != NULL)
	{
		ends = !slot->wanted || !slot->listed;
		if (ends)
		{
			slot->ended = true;
			slot->watching = false;
			slot->run_at = Max(not_before, worker_due(slot));
			slot->worker = NULL;
			slot->worker_pid = 0;
		}
	}
	databases_unlock();
	return ends;
}

bool
database_take(Oid database, DatabaseClock clock, TimestampTz now, TimestampTz *next)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);
	bool due = false;

	*next = DT_NOEND;
	if (slot != NULL)
	{
		due = slot->clocks[clock] <= now;
		if (due)
		{
			slot->clocks[clock] = DT_NOEND;
			slot->taken[clock] = true;
		}
		*next = slot->clocks[clock];
	}
	databases_unlock();
	return due;
}

TimestampTz
database_maintain_at(Oid database)
{
	Database *slot = slot_lock(database, LW_SHARED);
	TimestampTz due = DT_NOEND;

	if (slot != NULL)
		due = maintenance_due(slot);
	databases_unlock();
	return due;
}

void
database_watches(Oid database, bool watching)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
		slot->watching = watching;
	databases_unlock();
}

void
database_maintained(Oid database, TimestampTz now)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
	{
		slot->active = false;
		slot->maintaining = true;
		slot->maintained_at = now;
		slot->expiry_at = DT_NOEND;
	}
	databases_unlock();
}

void
database_maintenance_done(Oid database, TimestampTz expiry)
{
	Database *slot = slot_lock(database, LW_EXCLUSIVE);

	if (slot != NULL)
	{
		slot->maintaining = false;
		slot->expiry_at = expiry;
	}
	databases_unlock();
}
