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
	TimestampTz due_at;	   /* a job falls due in a lane without an entry */
	TimestampTz expiry_at; /* a job is past its queue timeout then */
	TimestampTz cron_at;   /* no schedule has a tick before; 0: not known */
	bool firing;		   /* cron_at is being found out */
	bool watching;		   /* the worker knows that there are workers of ours to be watched */
	bool wanted;		   /* the worker is needed before run_at */
	bool ended;			   /* the worker ended by itself */
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
find(Oid database)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (databases->slots[i].oid == database)
			return &databases->slots[i];
	return NULL;
}

/* The slot of the current database, whose place is remembered; NULL when it has none. */
static Database *
mine(void)
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
	Database *slot = mine();

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

	return TIMESTAMP_IS_NOEND(slot->cron_at) ? due : Min(due, slot->cron_at - START_AHEAD);
}

void
database_note_activity(void)
{
	Database *slot = mine();

	if (!haul_is_preloaded() || is_worker)
		return;
	if (slot == NULL ? databases->requested : slot->active && slot->state != DATABASE_ABSENT)
		return;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(MyDatabaseId);
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
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_wake_worker(Oid database)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
	slot = find(database);
	if (slot != NULL)
	{
		/* set first: a worker about to end looks at it under the exclusive lock */
		slot->wanted = true;
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch);
		else
			wake_launcher();
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

bool
database_worker_runs(void)
{
	Database *slot = mine();

	return slot != NULL && slot->worker_pid != 0;
}

void
database_want_worker(void)
{
	Database *slot = mine();

	if (slot != NULL && slot->worker_pid == 0)
		database_wake_worker(MyDatabaseId);
}

void
database_want_watch(void)
{
	Database *slot = mine();

	if (slot != NULL && !slot->watching)
		database_wake_worker(MyDatabaseId);
}

bool
database_due_at(Oid database, TimestampTz due)
{
	Database *slot;
	bool sooner = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL && due < slot->due_at)
	{
		slot->due_at = due;
		sooner = true;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return sooner;
}

void
database_cron_changed(void)
{
	Database *slot;

	if (!haul_is_preloaded() || is_worker)
		return;
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(MyDatabaseId);
	if (slot != NULL)
	{
		slot->cron_at = 0;
		slot->wanted = true;
		if (slot->state == DATABASE_ABSENT)
			slot->state = DATABASE_UNKNOWN;
		if (slot->worker_pid != 0)
			SetLatch(&slot->worker->procLatch);
	}
	else
		databases->requested = true;
	wake_launcher();
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_announce(void)
{
	Database *slot;

	if (!haul_is_preloaded())
		return;
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(MyDatabaseId);
	if (slot != NULL)
	{
		slot->state = DATABASE_UNKNOWN;
		slot->wanted = true;
	}
	else
		databases->announced = true;
	wake_launcher();
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_status(DatabaseStatus *status)
{
	Database *slot;

	memset(status, 0, sizeof(DatabaseStatus));
	if (!haul_is_preloaded())
		return;
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
	status->launcher_pid = databases->launcher_pid;
	slot = find(MyDatabaseId);
	if (slot != NULL)
	{
		status->worker_pid = slot->worker_pid;
		status->served = slot->served;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

/* ---- for the launcher ---- */

static void
launcher_ended(int code, Datum arg)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	databases->launcher = NULL;
	databases->launcher_pid = 0;
	for (int i = 0; i < MAX_DATABASES; i++)
		databases->slots[i].served = false;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_launcher_began(void)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	databases->launcher = MyProc;
	databases->launcher_pid = MyProcPid;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	before_shmem_exit(launcher_ended, (Datum) 0);
}

bool
database_select(Oid database)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot == NULL)
	{
		slot = find(InvalidOid);
		if (slot != NULL)
		{
			memset(slot, 0, sizeof(Database));
			slot->state = DATABASE_UNKNOWN;
			slot->ended = true;
			slot->due_at = DT_NOEND;
			slot->expiry_at = DT_NOEND;
			slot->oid = database;
		}
	}
	if (slot != NULL && !slot->listed)
	{
		slot->listed = true;
		slot->wanted = true;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return slot != NULL;
}

int
database_keep_only(const Oid *kept, int count, Oid *freed)
{
	int nfreed = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
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
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return nfreed;
}

int
database_list(DatabaseView *views)
{
	int count = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
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
		views[count].planned = !TIMESTAMP_IS_NOEND(slot->cron_at);
		count++;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return count;
}

bool
database_is_requested(bool *urgent)
{
	bool requested;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
	*urgent = databases->announced;
	requested = databases->announced || databases->requested;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return requested;
}

void
database_requests_met(void)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	databases->requested = false;
	databases->announced = false;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_worker_starts(Oid database)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
		slot->ended = false;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

bool
database_worker_ended(Oid database)
{
	Database *slot;
	bool ended;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
	slot = find(database);
	ended = slot == NULL || slot->ended;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return ended;
}

void
database_worker_fails(Oid database, TimestampTz retry_at)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		slot->served = false;
		slot->wanted = false;
		slot->ended = true;
		slot->run_at = retry_at;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

/* ---- for the worker of a database ---- */

static void
worker_gone(int code, Datum database)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(DatumGetObjectId(database));
	if (slot != NULL && slot->worker_pid == MyProcPid)
	{
		slot->worker = NULL;
		slot->worker_pid = 0;
		slot->active |= slot->maintaining; /* it broke off */
		slot->maintaining = false;
		slot->watching = false;
		/* what broke off is not the first thing that the next one tries again */
		if (slot->firing)
			slot->cron_at = GetCurrentTimestamp() + CLOCK_INTERVAL;
		slot->firing = false;
		wake_launcher();
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

bool
database_worker_began(Oid database)
{
	Database *slot;
	bool began = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL && slot->listed && slot->worker_pid == 0)
	{
		slot->worker = MyProc;
		slot->worker_pid = MyProcPid;
		slot->wanted = false;
		began = true;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	is_worker = true;
	if (began)
		before_shmem_exit(worker_gone, ObjectIdGetDatum(database));
	return began;
}

void
database_set_state(Oid database, DatabaseState state)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		if (slot->state == DATABASE_UNKNOWN)
			wake_launcher(); /* the next one's turn to be found out about */
		slot->state = state;
		if (state != DATABASE_PRESENT)
			slot->served = false;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_serve(Oid database)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL && slot->listed)
		slot->served = true;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

bool
database_take_wanted(Oid database)
{
	Database *slot;
	bool listed;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	listed = slot != NULL && slot->listed;
	if (listed)
		slot->wanted = false;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return listed;
}

bool
database_worker_ends(Oid database, TimestampTz not_before)
{
	Database *slot;
	bool ends = true;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
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
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return ends;
}

bool
database_take_due(Oid database, TimestampTz now, TimestampTz *next)
{
	Database *slot;
	bool due = false;

	*next = DT_NOEND;
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		due = slot->due_at <= now;
		if (due)
			slot->due_at = DT_NOEND;
		*next = slot->due_at;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return due;
}

TimestampTz
database_maintain_at(Oid database)
{
	Database *slot;
	TimestampTz due = DT_NOEND;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_SHARED);
	slot = find(database);
	if (slot != NULL)
		due = maintenance_due(slot);
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return due;
}

void
database_watches(Oid database, bool watching)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
		slot->watching = watching;
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_maintained(Oid database, TimestampTz now)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		slot->active = false;
		slot->maintaining = true;
		slot->maintained_at = now;
		slot->expiry_at = DT_NOEND;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

void
database_maintenance_done(Oid database, TimestampTz expiry)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		slot->maintaining = false;
		slot->expiry_at = expiry;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
}

bool
database_take_cron(Oid database, TimestampTz now, TimestampTz *next)
{
	Database *slot;
	bool due = false;

	*next = DT_NOEND;
	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		due = slot->cron_at <= now;
		if (due)
		{
			slot->cron_at = DT_NOEND;
			slot->firing = true;
		}
		*next = slot->cron_at;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return due;
}

TimestampTz
database_plan_cron(Oid database, TimestampTz tick)
{
	Database *slot;

	LWLockAcquire(haul_lock(HAUL_LOCK_DATABASES), LW_EXCLUSIVE);
	slot = find(database);
	if (slot != NULL)
	{
		/* sooner, if schedules changed meanwhile */
		tick = slot->cron_at = Min(slot->cron_at, tick);
		slot->firing = false;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_DATABASES));
	return tick;
}
