/*
 * command_runner.c: the background worker that has the commands of schedules run.
 *
 * One in a database at a time, for as long as there is something to run: it
 * starts a process for each command (command.c), waits for its end and writes down
 * how it went. It needs neither shared memory nor the launcher, only a free slot
 * among max_worker_processes, so that it works without preloading, too.
 *
 * A command is run at most once: that it runs is committed before its process begins.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/background.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "cron/command.h"
#include "cron/command_runner.h"

#define LOOK_INTERVAL USECS_PER_SEC /* at what no signal tells */
#define LONGEST_PAUSE (10 * USECS_PER_SEC)

/* A command whose process runs, or is about to. */
typedef struct Command
{
	int64 run;
	int64 schedule;
	bool at_home; /* in this database */
	bool pid_is_known;
	BackgroundWorkerHandle *handle;
	dsm_segment *segment;
	CommandOrder *order;
} Command;

static Oid runs;			 /* haul.cron_runs */
static List *commands = NIL; /* of Command *, in TopMemoryContext */
static int64 adopted = 0; /* commands that run and are not ours: of a runner that was terminated */
static TimestampTz start_at;  /* not before then, since no process was to be had */
static TimestampTz delay = 0; /* after the next refusal */

/* Calls a function of the extension, none of whose arguments is null; returns how many rows. */
static uint64
call(const char *select, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(select, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", select);
	return SPI_processed;
}

/* A column of the first row of the result; NULL as 0. */
static Datum
result(int column)
{
	bool isnull;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);
}

static Datum
array_of(Datum *ids, int count)
{
	return PointerGetDatum(
		construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* A transaction with SPI in it. False: the extension is gone, or somebody is about to drop it. */
static bool
transaction_begin(const char *activity)
{
	if (!background_begin())
		return false;
	if (OidIsValid(runs) && haul_catalog()->cron_runs != runs)
	{
		/* dropped and created again: these are not the runs that we know */
		background_commit();
		proc_exit(0);
	}
	pgstat_report_activity(STATE_RUNNING, activity);
	SPI_connect();
	return true;
}

static void
transaction_commit(void)
{
	SPI_finish();
	background_commit();
}

/* ---- the one runner of a database ---- */

static void
runner_lock_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, runs, 0, 1);
}

static bool
runner_try_lock(void)
{
	LOCKTAG tag;

	runner_lock_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
runner_unlock(void)
{
	LOCKTAG tag;

	runner_lock_tag(&tag);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

/* Locks of sessions outlive their transactions, but must not outlive the process. */
static void
runner_release_locks(int code, Datum arg)
{
	LockReleaseAll(DEFAULT_LOCKMETHOD, true);
}

static void
process_wake(int pid)
{
	PGPROC *process = BackendPidGetProc(pid);

	if (process != NULL)
		SetLatch(&process->procLatch);
}

/* It does not know yet what was committed just now. */
static void
wake_other(void)
{
	if (!transaction_begin("wake"))
		return;
	(void) call("SELECT haul._command_runner()", 0, NULL, NULL);
	process_wake(DatumGetInt32(result(1)));
	transaction_commit();
}

/* ---- what was left behind ---- */

static Datum
our_runs(void)
{
	Datum *ids = palloc((list_length(commands) + 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, commands)
		ids[count++] = Int64GetDatum(((Command *) lfirst(cell))->run);
	return array_of(ids, count);
}

static bool
adopt(void)
{
	Oid type = INT8ARRAYOID;
	Datum ours;

	if (!transaction_begin("adopt"))
		return false;
	ours = our_runs();
	(void) call("SELECT haul._adopt_commands($1)", 1, &type, &ours);
	adopted = DatumGetInt64(result(1));
	transaction_commit();
	return true;
}

static bool
discard_missed(void)
{
	if (!transaction_begin("discard missed"))
		return false;
	(void) call("SELECT haul._discard_missed_commands()", 0, NULL, NULL);
	transaction_commit();
	return true;
}

/* ---- commands that end ---- */

static bool
command_record_end(const Command *command)
{
	Oid types[] = {INT8OID, BOOLOID, INT4OID, TEXTOID};
	const CommandOrder *order = command->order;
	const char *message = order->outcome == COMMAND_OPEN
							  ? "its process ended before the command did"
							  : order->message;
	Datum values[4];

	if (!transaction_begin("record the end of a command"))
		return false;
	values[0] = Int64GetDatum(command->run);
	values[1] = BoolGetDatum(order->outcome == COMMAND_SUCCEEDED);
	values[2] = Int32GetDatum(order->pid);
	values[3] = CStringGetTextDatum(message);
	(void) call("SELECT haul._command_ended($1, $2, $3, $4)", lengthof(types), types, values);
	transaction_commit();
	return true;
}

static bool
command_record_pid(Command *command)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(command->run), Int32GetDatum(command->order->pid)};

	if (!transaction_begin("record the process of a command"))
		return false;
	(void) call("SELECT haul._command_began($1, $2)", lengthof(types), types, values);
	transaction_commit();
	command->pid_is_known = true;
	return true;
}

static void
command_forget(Command *command)
{
	if (command->handle != NULL)
		pfree(command->handle);
	if (command->segment != NULL)
		dsm_detach(command->segment);
	commands = list_delete_ptr(commands, command);
	pfree(command);
}

/* Takes notice of processes that have begun or ended. */
static bool
watch(void)
{
	List *all = list_copy(commands);
	bool good = true;
	ListCell *cell;

	foreach (cell, all)
	{
		Command *command = lfirst(cell);
		pid_t pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(command->handle, &pid);

		if (status == BGWH_STOPPED)
		{
			if (!(good = command_record_end(command)))
				break;
			command_forget(command);
		}
		else if (!command->pid_is_known && command->order->pid != 0 &&
				 !(good = command_record_pid(command)))
			break;
	}
	list_free(all);
	return good;
}

/* ---- commands that begin ---- */

static Datum
schedules_at_work(void)
{
	Datum *ids = palloc((list_length(commands) + 1) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach (cell, commands)
		ids[count++] = Int64GetDatum(((Command *) lfirst(cell))->schedule);
	return array_of(ids, count);
}

/* NULL when there is no room, of whatever kind: that one command must not be the end of all. */
static dsm_segment *
make_segment(Size size)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	dsm_segment *volatile segment = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment != NULL)
			dsm_pin_mapping(segment);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		segment = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return segment;
}

/* Takes the next command, which counts as running from then on. *command is NULL when there is
 * none. */
static bool
command_take(Command **command)
{
	Oid type = INT8ARRAYOID;
	Datum busy;

	*command = NULL;
	if (!transaction_begin("take a command"))
		return false;
	busy = schedules_at_work();
	if (call("SELECT run, schedule, command, database, username, at_home"
			 " FROM haul._take_command($1)",
			 1, &type, &busy) == 1)
	{
		const char *body = TextDatumGetCString(result(3));
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		Size size = offsetof(CommandOrder, text) + strlen(body) + 1;
		Command *taken = palloc0(sizeof(Command));

		taken->run = DatumGetInt64(result(1));
		taken->schedule = DatumGetInt64(result(2));
		taken->at_home = DatumGetBool(result(6));
		taken->segment = make_segment(size);
		if (taken->segment != NULL)
		{
			taken->order = dsm_segment_address(taken->segment);
			memset(taken->order, 0, offsetof(CommandOrder, text));
			taken->order->encoding = GetDatabaseEncoding();
			taken->order->database = *DatumGetName(result(4));
			taken->order->username = *DatumGetName(result(5));
			strcpy(taken->order->text, body);
		}
		commands = lappend(commands, taken);
		MemoryContextSwitchTo(caller);
		*command = taken;
	}
	transaction_commit();
	return true;
}

static bool
command_start_process(Command *command)
{
	BackgroundWorker worker;
	MemoryContext caller;
	bool started;

	if (command->segment == NULL)
		return false;
	worker =
		background_worker("haul_command_main", UInt32GetDatum(dsm_segment_handle(command->segment)),
						  "pg_haul command", "pg_haul command of run " INT64_FORMAT, command->run);
	worker.bgw_notify_pid = MyProcPid;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &command->handle);
	MemoryContextSwitchTo(caller);
	return started;
}

static bool
command_put_back(Command *command)
{
	Oid type = INT8OID;
	Datum run = Int64GetDatum(command->run);

	if (!transaction_begin("put a command back"))
		return false;
	(void) call("SELECT haul._put_command_back($1)", 1, &type, &run);
	transaction_commit();
	command_forget(command);
	delay = delay == 0 ? LOOK_INTERVAL : Min(2 * delay, LONGEST_PAUSE);
	start_at = GetCurrentTimestamp() + delay;
	return true;
}

/* As many as may run. */
static bool
start_commands(void)
{
	while (list_length(commands) + adopted < haul_max_commands && GetCurrentTimestamp() >= start_at)
	{
		Command *command;

		if (!command_take(&command))
			return false;
		if (command == NULL)
			break;
		if (!command_start_process(command))
			return command_put_back(command);
		delay = 0;
	}
	return true;
}

/* ---- beginning and end ---- */

static bool
is_anything_left(void)
{
	bool left;

	if (!transaction_begin("look for commands"))
		return false;
	(void) call("SELECT haul._has_commands()", 0, NULL, NULL);
	left = DatumGetBool(result(1));
	transaction_commit();
	return left;
}

static bool
is_one_at_home(void)
{
	ListCell *cell;

	foreach (cell, commands)
		if (((Command *) lfirst(cell))->at_home)
			return true;
	return false;
}

/*
 * Whoever makes a run commits it before he finds that he lacks the lock. So what is
 * there when the lock has been given back is all that nobody else looks after.
 */
static bool
runner_end(void)
{
	runner_unlock();
	return !is_anything_left() || !runner_try_lock();
}

static void
work_until_done(void)
{
	for (;;)
	{
		static uint32 event = 0;
		bool good;

		ResetLatch(MyLatch);
		background_check();
		good = watch() && adopt() && start_commands();
		if (background_extension_gone() || (!good && commands == NIL))
			return;
		/* commands that run in the database are in the way themselves */
		if (!is_one_at_home() && background_database_is_claimed())
			return;
		if (good && commands == NIL && adopted == 0 && !is_anything_left())
		{
			if (runner_end())
				return;
			continue;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_INTERVAL / 1000, haul_wait_event(&event, "HaulCommands"));
	}
}

void
haul_command_runner_main(Datum arg)
{
	background_signals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	background_settings();
	/* that a command runs is on disk before it does: a crash must not have it run again */
	SetConfigOption("synchronous_commit", "on", PGC_USERSET, PGC_S_OVERRIDE);
	on_shmem_exit(runner_release_locks, (Datum) 0);
	if (!transaction_begin("begin"))
		proc_exit(0);
	runs = haul_catalog()->cron_runs;
	transaction_commit();
	if (!runner_try_lock())
		wake_other();
	else if (discard_missed())
		work_until_done();
	proc_exit(0);
}

/* ---- for those who fire schedules ---- */

static bool
start_runner(void)
{
	BackgroundWorker worker =
		background_worker("haul_command_runner_main", ObjectIdGetDatum(MyDatabaseId),
						  "pg_haul commands", "pg_haul commands of database %u", MyDatabaseId);

	/* without a handle it allocates nothing, so that it may be called when a transaction has ended
	 */
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

static bool start_at_commit = false;

static void
runner_at_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (start_at_commit)
				(void) start_runner();
			start_at_commit = false;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			start_at_commit = false;
			break;
		default:
			break;
	}
}

PG_FUNCTION_INFO_V1(haul_wake_command_runner);

Datum
haul_wake_command_runner(PG_FUNCTION_ARGS)
{
	process_wake(PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(haul_start_command_runner);

Datum
haul_start_command_runner(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (RecoveryInProgress() || IsBinaryUpgrade || !IsUnderPostmaster)
		PG_RETURN_BOOL(true);
	if (!PG_GETARG_BOOL(0))
		PG_RETURN_BOOL(start_runner());
	if (!registered)
	{
		RegisterXactCallback(runner_at_end_of_transaction, NULL);
		registered = true;
	}
	start_at_commit = true;
	PG_RETURN_BOOL(true);
}
