/*
 * launcher.c: the background worker that starts one for each database that needs it.
 *
 * It is connected to no database, so it is in nobody's way. Which databases there
 * are it looks up now and then, and when asked; which of them need their worker
 * stands in shared memory (database.c). Workers end when there is nothing to do,
 * so that they do not stand in the way of DROP DATABASE and the like.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/background.h"
#include "base/settings.h"
#include "processes/launcher.h"
#include "shared/database.h"
#include "shared/lane.h"

#define LIST_INTERVAL (60 * USECS_PER_SEC)	 /* between looks at the list of databases */
#define REQUEST_INTERVAL (5 * USECS_PER_SEC) /* the same, where one may be new */
#define FIRST_PAUSE (1 * USECS_PER_SEC)		 /* after a failure; doubled each time */
#define LONGEST_PAUSE (5 * USECS_PER_MINUTE)
#define RESTART_PAUSE 5 /* seconds, of the launcher itself */

/* What the launcher knows of the worker of a database. */
typedef struct Started
{
	Oid database;
	BackgroundWorkerHandle *handle; /* NULL: none */
	bool refused;					/* it could not be started the last time */
	bool retry_now;					/* but now it may be possible */
	int64 pause;					/* after the next failure */
	TimestampTz started_at;
} Started;

static Started started[MAX_DATABASES];
static int nstarted = 0;

void
haul_launcher_register(void)
{
	BackgroundWorker worker =
		background_worker("haul_launcher_main", (Datum) 0, "pg_haul launcher", "pg_haul launcher");

	/* nothing of a cluster may change while pg_upgrade reads it */
	if (IsBinaryUpgrade)
		return;
	worker.bgw_restart_time = RESTART_PAUSE;
	RegisterBackgroundWorker(&worker);
}

/* ---- which databases ---- */

static bool
is_listed(const char *name, List *names)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), "*") == 0 || strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Brings the slots up to date with pg_database and the setting. */
static void
list_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(caller, "pg_haul databases", ALLOCSET_DEFAULT_SIZES);
	List *names = NIL;
	Oid *kept;
	int nkept = 0;
	Oid freed[MAX_DATABASES];
	int nfreed;
	int capacity = 64;
	Relation table;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	MemoryContextSwitchTo(context);
	kept = palloc(capacity * sizeof(Oid));
	(void) SplitIdentifierString(pstrdup(haul_databases), ',', &names);

	table = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(table, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);

		if (!row->datallowconn || row->datistemplate || row->datconnlimit < -1 ||
			!is_listed(NameStr(row->datname), names))
			continue;
		if (!database_select(row->oid))
			continue;
		if (nkept == capacity)
			kept = repalloc(kept, (capacity *= 2) * sizeof(Oid));
		kept[nkept++] = row->oid;
	}
	table_endscan(scan);
	table_close(table, AccessShareLock);
	CommitTransactionCommand();

	nfreed = database_keep_only(kept, nkept, freed);
	for (int i = 0; i < nfreed; i++)
		lane_forget(freed[i], InvalidOid);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---- their workers ---- */

static Started *
started_for(Oid database)
{
	Started *entry;

	for (int i = 0; i < nstarted; i++)
		if (started[i].database == database)
			return &started[i];
	if (nstarted == MAX_DATABASES)
	{
		/* those of databases that are gone */
		DatabaseView views[MAX_DATABASES];
		int count = database_list(views);
		int kept = 0;

		for (int i = 0; i < nstarted; i++)
			for (int j = 0; j < count; j++)
				if (views[j].oid == started[i].database)
				{
					started[kept++] = started[i];
					break;
				}
		nstarted = kept;
		Assert(nstarted < MAX_DATABASES);
	}
	entry = &started[nstarted++];
	memset(entry, 0, sizeof(Started));
	entry->database = database;
	entry->pause = FIRST_PAUSE;
	return entry;
}

static bool
is_running(const Started *entry)
{
	pid_t pid;
	BgwHandleStatus status;

	if (entry->handle == NULL)
		return false;
	status = GetBackgroundWorkerPid(entry->handle, &pid);
	return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED;
}

static TimestampTz
put_off(Started *entry, TimestampTz now)
{
	TimestampTz retry_at = now + entry->pause;

	database_worker_fails(entry->database, retry_at);
	entry->pause = Min(2 * entry->pause, LONGEST_PAUSE);
	return retry_at;
}

/* Returns when to try again, if it did not succeed. */
static TimestampTz
start_worker(Started *entry, TimestampTz now)
{
	BackgroundWorker worker =
		background_worker("haul_caretaker_main", ObjectIdGetDatum(entry->database),
						  "pg_haul worker", "pg_haul worker for database %u", entry->database);
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
	bool registered;

	worker.bgw_notify_pid = MyProcPid;
	database_worker_starts(entry->database);
	registered = RegisterDynamicBackgroundWorker(&worker, &entry->handle);
	MemoryContextSwitchTo(caller);

	entry->retry_now = false;
	entry->started_at = now;
	if (registered)
	{
		entry->refused = false;
		return DT_NOEND;
	}
	if (!entry->refused)
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("pg_haul cannot start its worker for database %u", entry->database),
					  errdetail("Until it can, enqueuers notify workers themselves, and workers do "
								"the maintenance."),
					  errhint("Consider increasing the configuration parameter \"%s\".",
							  "max_worker_processes")));
	entry->refused = true;
	entry->handle = NULL;
	return put_off(entry, now);
}

/* Takes notice of the workers that have ended: there is room for those that were refused. Returns
 * when to try again with those that failed; DT_NOEND if none did. */
static TimestampTz
reap_workers(TimestampTz now)
{
	TimestampTz retry_at = DT_NOEND;

	for (int i = 0; i < nstarted; i++)
	{
		Started *entry = &started[i];

		if (entry->handle == NULL || is_running(entry))
			continue;
		pfree(entry->handle);
		entry->handle = NULL;
		for (int j = 0; j < nstarted; j++)
			started[j].retry_now = started[j].refused;
		/* asked after it has stopped: until then, none has ended well */
		if (database_worker_ended(entry->database))
		{
			entry->pause = FIRST_PAUSE;
			continue;
		}
		if (now - entry->started_at > LONGEST_PAUSE)
			entry->pause = FIRST_PAUSE; /* it was well for long */
		retry_at = sooner(retry_at, put_off(entry, now));
	}
	return retry_at;
}

/* Starts the workers that are needed. Returns when to look again. */
static TimestampTz
start_workers(TimestampTz now)
{
	DatabaseView views[MAX_DATABASES];
	int count = database_list(views);
	TimestampTz next = DT_NOEND;
	bool probing = false; /* one database of which we know nothing at a time */

	for (int i = 0; i < count; i++)
		probing |= views[i].state == DATABASE_UNKNOWN && is_running(started_for(views[i].oid));
	for (int i = 0; i < count; i++)
	{
		Started *entry = started_for(views[i].oid);
		bool unknown = views[i].state == DATABASE_UNKNOWN;

		if (views[i].planned)
			next = Min(next, now + CLOCK_INTERVAL);
		if (is_running(entry) || views[i].running || views[i].state == DATABASE_ABSENT ||
			(unknown && probing))
			continue;
		if (views[i].run_at <= now || entry->retry_now ||
			(views[i].wanted && entry->pause == FIRST_PAUSE))
		{
			next = sooner(next, start_worker(entry, now));
			probing |= unknown;
		}
		else
			next = Min(next, views[i].run_at);
	}
	return next;
}

static void
launcher_sleep_until(TimestampTz time)
{
	static uint32 event = 0;
	long milliseconds = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), time);

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 haul_wait_event(&event, "HaulLauncher"));
	ResetLatch(MyLatch);
}

void
haul_launcher_main(Datum arg)
{
	TimestampTz list_at = DT_NOBEGIN;
	TimestampTz listed_at = 0;

	background_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	database_launcher_began();

	for (;;)
	{
		TimestampTz now;
		TimestampTz next;
		TimestampTz retry_at;
		bool urgent;

		if (ConfigReloadPending)
			list_at = DT_NOBEGIN;
		background_check();
		now = GetCurrentTimestamp();
		if (database_is_requested(&urgent))
			list_at = urgent ? now : Min(list_at, listed_at + REQUEST_INTERVAL);
		retry_at = reap_workers(now);
		if (!TIMESTAMP_IS_NOEND(retry_at) || now >= list_at)
		{
			database_requests_met();
			list_databases();
			listed_at = now;
			/* what makes a worker fail is, most often, that its database is being dropped */
			list_at = Min(now + LIST_INTERVAL, retry_at);
		}
		next = start_workers(now);
		launcher_sleep_until(Min(next, list_at));
	}
}
