/*
 * caretaker.c: the background worker of one database.
 *
 * It sends the NOTIFYs that enqueuers leave to it, wakes workers for jobs that
 * fall due, fires schedules, watches over prepared transactions, takes back the
 * jobs of workers whose sessions ended, does the maintenance and sweeps the lanes.
 * It stays while somebody waits or a tick is near, and otherwise ends as soon as
 * there is nothing to do.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/background.h"
#include "base/catalog.h"
#include "base/client_process.h"
#include "base/settings.h"
#include "calls/call.h"
#include "calls/maintain.h"
#include "job/job_store.h"
#include "processes/caretaker.h"
#include "processes/survey.h"
#include "processes/sweep.h"
#include "rows/job.h"
#include "shared/database.h"
#include "shared/lane.h"
#include "shared/waiter.h"

#define LINGER USECS_PER_SEC		  /* with nothing to do */
#define NEAR (5 * USECS_PER_SEC)	  /* a tick for which it stays */
#define HOLD_INTERVAL (200 * 1000)	  /* between looks at prepared transactions */
#define AWAY_FOR (10 * USECS_PER_SEC) /* when somebody wants the database for himself */
#define PROCESS_INTERVAL (50 * 1000)  /* between looks at a process that may just be ending */
#define LISTENERS_PAUSE (100 * 1000)  /* between NOTIFYs for those who LISTEN only */
#define NOTICES 64

static Oid database;

/* ---- transactions ---- */

/* Runs a command, whose text is constant, in a transaction of its own. */
static void
run(const char *command, int nargs, Oid *types, Datum *values)
{
	if (!background_begin())
		return;
	pgstat_report_activity(STATE_RUNNING, command);
	SPI_connect();
	if (SPI_execute_with_args(command, nargs, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(SPI_result));
	SPI_finish();
	background_commit();
}

/*
 * Does something that may fail, and be left as it is: what else is to be done goes on. NULL, or the
 * error, whose transaction is rolled back.
 */
static ErrorData *
attempt(void (*act)(void *arg), void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		act(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		HOLD_INTERRUPTS();
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		pgstat_report_activity(STATE_IDLE, NULL);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return error;
}

static void
report(const ErrorData *error, const char *what)
{
	if (error != NULL)
		ereport(WARNING, (errcode(error->sqlerrcode),
						  errmsg("pg_haul could not %s: %s", what, error->message)));
}

typedef struct Failure
{
	char *duty;
	char *error;
} Failure;

static void
note_failure(void *arg)
{
	const Failure *failure = arg;
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {CStringGetTextDatum(failure->duty), CStringGetTextDatum(failure->error)};

	run("SELECT haul._note_failure($1, $2)", 2, types, values);
}

static void
note_success(void *duty)
{
	Oid type = TEXTOID;
	Datum value = CStringGetTextDatum((char *) duty);

	run("SELECT haul._note_success($1)", 1, &type, &value);
}

/* Notes in haul.duties that a duty failed, and logs it when that is new. */
static void
note_text(const char *duty, char *error)
{
	Failure failure = {.duty = (char *) duty, .error = error};

	report(attempt(note_failure, &failure), "note that a duty failed");
}

static void
note(const char *duty, const ErrorData *error)
{
	note_text(duty, psprintf("%s (%s)", error->message, unpack_sql_state(error->sqlerrcode)));
}

typedef struct Timed
{
	TimestampTz (*act)(TimestampTz now);
	TimestampTz now;
	TimestampTz next;
} Timed;

static void
act_timed(void *arg)
{
	Timed *timed = arg;

	timed->next = timed->act(timed->now);
}

/* The same again, so that the error of one job stops no other. Returns what failed; NULL:
 * nothing. */
static char *
act_one_by_one(Timed *timed)
{
	ErrorData *error;
	char *failure;

	(void) call_take_failure(); /* that of one who broke off */
	haul_one_by_one = true;
	error = attempt(act_timed, timed);
	haul_one_by_one = false;
	failure = call_take_failure();
	return error == NULL ? failure
						 : psprintf("%s (%s)", error->message, unpack_sql_state(error->sqlerrcode));
}

/* What is done at its time, by the name that it has in haul.duties. When it fails, it is tried
 * again soon, and all else goes on. */
static TimestampTz
guarded(const char *duty, TimestampTz (*act)(TimestampTz now), TimestampTz now)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(caller, "pg_haul timed duty", ALLOCSET_SMALL_SIZES);
	Timed timed = {.act = act, .now = now, .next = now + LINGER};
	char *failure;

	MemoryContextSwitchTo(context);
	if (attempt(act_timed, &timed) != NULL && (failure = act_one_by_one(&timed)) != NULL)
		note_text(duty, failure);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return timed.next;
}

/* What only the background worker does, and so nothing else finds to be in order again. */
typedef struct Duty
{
	const char *name;
	TimestampTz (*act)(TimestampTz now);
	bool failing;
} Duty;

static TimestampTz
guarded_own(Duty *duty, TimestampTz now)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context =
		AllocSetContextCreate(caller, "pg_haul timed duty", ALLOCSET_SMALL_SIZES);
	Timed timed = {.act = duty->act, .now = now, .next = now + LINGER};
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = attempt(act_timed, &timed);
	if (error != NULL)
		note(duty->name, error);
	else if (duty->failing)
		report(attempt(note_success, (void *) duty->name), "note that a duty was done");
	duty->failing = error != NULL;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return timed.next;
}

/* ---- duties; those that have more to do later return when ---- */

/* Those of one transaction; returns when to send more. */
static TimestampTz
send_notices(TimestampTz now)
{
	Notice notices[NOTICES];
	int count = waiter_notices(database, notices, NOTICES);

	if (count == 0)
		return DT_NOEND;
	background_begin_anyhow();
	for (int i = 0; i < count; i++)
		if (notices[i].worker == 0)
			Async_Notify("haul", notices[i].queue);
		else
			Async_Notify(psprintf("haul_worker_" INT64_FORMAT, notices[i].worker), "");
	background_commit();
	waiter_notices_sent(notices, count);
	return count == NOTICES ? GetCurrentTimestamp() : DT_NOEND;
}

/* For sessions that LISTEN, of which we know nothing: all in one transaction. Whether there was
 * something to tell. */
static bool
tell_listeners(void)
{
	LaneTag tag;

	lane_told(database, false); /* what was taken before an error, or by one who has ended */
	if (!lane_take_unheard(database, &tag))
		return false;
	background_begin_anyhow();
	do
		Async_Notify("haul", pnstrdup(tag.queue, tag.length));
	while (lane_take_unheard(database, &tag));
	background_commit();
	lane_told(database, true);
	return true;
}

/* Not too often: each time all sessions of the database that LISTEN to anything are woken. */
static TimestampTz
notify_listeners(TimestampTz now)
{
	static TimestampTz told_at = 0;

	if (now < told_at + LISTENERS_PAUSE && now > told_at)
		return told_at + LISTENERS_PAUSE;
	if (tell_listeners())
		told_at = now;
	return DT_NOEND;
}

static void
look_after_hold(const LaneTag *tag)
{
	(void) database_plan(database, DATABASE_DUE, GetCurrentTimestamp());
}

static TimestampTz
watch_prepared(TimestampTz now)
{
	return lane_lift_holds(database, look_after_hold) > 0 ? now + HOLD_INTERVAL : DT_NOEND;
}

/* All sessions of a worker have ended. If its process has, too, it is dead; else it is lost, unless
 * it comes back within the grace. */
static void
give_up_departed(const Departure *departure, bool dead)
{
	Oid types[] = {INT8OID, TIMESTAMPTZOID, BOOLOID};
	Datum values[] = {Int64GetDatum(departure->worker), TimestampTzGetDatum(departure->at),
					  BoolGetDatum(dead)};

	if (waiter_take_departure(database, departure))
		run("SELECT haul._give_up_departed($1, $2, $3)", lengthof(values), types, values);
}

static TimestampTz
watch_departed(TimestampTz now)
{
	static Departure departures[MAX_DEPARTURES];
	int count = waiter_departures(database, departures);
	TimestampTz grace = (TimestampTz) haul_reconnect_grace * 1000;
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < count; i++)
	{
		bool known = departures[i].process != 0;
		bool dead = known && process_is_gone(departures[i].process);

		if (dead || departures[i].at + grace <= now)
			give_up_departed(&departures[i], dead);
		else
			next = sooner(next,
						  Min(departures[i].at + grace, known ? now + PROCESS_INTERVAL : DT_NOEND));
	}
	return next;
}

/* A look at who is silent. Returns when the next is due; while there are no workers, none is. */
static TimestampTz
watch_silent(TimestampTz now)
{
	static TimestampTz next = 0;
	static bool watching = false;
	bool isnull;
	Datum value;

	/* unless the clock was set back */
	if (now < next && next <= now + haul_worker_timeout * USECS_PER_SEC)
		return watching ? next : DT_NOEND;
	if (!background_begin())
		return now + LINGER;
	pgstat_report_activity(STATE_RUNNING, "haul._watch_over()");
	SPI_connect();
	if (SPI_execute("SELECT next_at FROM haul._watch_over()", false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at workers");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	next = isnull ? now + LINGER : DatumGetTimestampTz(value);
	SPI_finish();
	background_commit();
	/* who registers just now gives another sign soon */
	watching = !isnull;
	database_watches(database, watching);
	return watching ? next : DT_NOEND;
}

/* When the next job is past its queue timeout. */
static TimestampTz
next_expiry(TimestampTz now)
{
	LaneKey from = {now, PG_INT64_MAX};
	TimestampTz expiry = DT_NOEND;
	TupleTableSlot *job;
	JobStore *store;

	if (maintenance_left_jobs)
	{
		maintenance_left_jobs = false;
		return now;
	}
	if (!background_begin())
		return expiry;
	store = job_store_open();
	job_store_begin_expired(store, from, expiry);
	while ((job = job_store_next(store)) != NULL)
		if (job_is(job, JOB_READY))
		{
			expiry = DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT));
			break;
		}
	job_store_end_scan(store);
	job_store_close(store);
	background_commit();
	return expiry;
}

/* One pass over the schedules; returns when the next is due. */
static TimestampTz
fire_schedules(void)
{
	TimestampTz next = DT_NOEND;
	bool isnull;
	Datum value;

	if (!background_begin())
		return GetCurrentTimestamp() + LINGER;
	pgstat_report_activity(STATE_RUNNING, "haul._fire()");
	SPI_connect();
	if (SPI_execute("SELECT next_at FROM haul._fire(pg_catalog.clock_timestamp())", false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not fire schedules");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		next = DatumGetTimestampTz(value);
	SPI_finish();
	background_commit();
	return next;
}

static TimestampTz
fire(TimestampTz now)
{
	TimestampTz next;

	if (database_take(database, DATABASE_TICK, now, &next))
	{
		(void) database_plan(database, DATABASE_TICK, fire_schedules());
		/* sooner, if schedules changed meanwhile */
		(void) database_take(database, DATABASE_TICK, DT_NOBEGIN, &next);
	}
	return next;
}

static void
do_duty(void *duty)
{
	Oid type = TEXTOID;
	Datum value = CStringGetTextDatum((char *) duty);

	run("SELECT haul._do_duty($1, false)", 1, &type, &value);
}

static void
do_duty_one_by_one(void *duty)
{
	Oid type = TEXTOID;
	Datum value = CStringGetTextDatum((char *) duty);

	run("SELECT haul._do_duty_one_by_one($1, false)", 1, &type, &value);
}

/* The names of the duties that are to be done now. */
static List *
list_duties(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List *names = NIL;
	MemoryContext spi;

	if (!background_begin())
		return NIL;
	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.unnest(haul._duties(true))", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read haul.duties");
	spi = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
		names = lappend(names, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	MemoryContextSwitchTo(spi);
	SPI_finish();
	background_commit();
	return names;
}

/* Each in a transaction of its own; what fails is noted in haul.duties, and logged when it is new.
 */
static void
do_duties(void)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "pg_haul duties", ALLOCSET_DEFAULT_SIZES);
	ListCell *cell;
	List *duties;

	MemoryContextSwitchTo(context);
	duties = list_duties();
	MemoryContextSwitchTo(context);
	foreach (cell, duties)
	{
		char *duty = lfirst(cell);
		ErrorData *error = attempt(do_duty, duty);

		background_check();
		if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			error = attempt(do_duty_one_by_one, duty);
		background_check();
		if (error != NULL)
			note(duty, error);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

static TimestampTz
maintain(TimestampTz now)
{
	if (now >= database_maintain_at(database))
	{
		/* in this order: what happens while it runs is not forgotten */
		database_maintained(database, now);
		do_duties();
		database_maintenance_done(database, guarded("expire jobs", next_expiry, now));
		/* schedules may have changed in ways that no callback sees */
		(void) database_plan(database, DATABASE_TICK, now);
	}
	return database_maintain_at(database);
}

/* When jobs fall due, in all lanes at once. */
static TimestampTz
survey_everything(TimestampTz now)
{
	if (background_begin())
	{
		survey_all();
		background_commit();
	}
	return DT_NOEND;
}

static TimestampTz
promote_due(TimestampTz now)
{
	return survey_due();
}

static Duty notify = {"send notifications", send_notices, false};
static Duty listeners = {"send notifications", notify_listeners, false};
static Duty promote = {"survey lanes", promote_due, false};
static Duty survey = {"survey lanes", survey_slice, false};
static Duty survey_at_first = {"survey lanes", survey_everything, false};
static Duty sweep = {"sweep lanes", sweep_slice, false};

/* ---- beginning and end ---- */

/* What callbacks did not see: transactions prepared before the server started, and when jobs fall
 * due. */
static bool
open_database(void)
{
	if (!background_begin())
		return false;
	database_set_state(database, DATABASE_PRESENT);
	SPI_connect();
	if (SPI_execute(
			"SELECT DISTINCT p.transaction FROM pg_catalog.pg_prepared_xacts AS p"
			" JOIN pg_catalog.pg_locks AS l ON l.virtualtransaction = '-1/' || p.transaction::text"
			" WHERE p.database = pg_catalog.current_database()"
			" AND l.relation = 'haul.jobs'::pg_catalog.regclass",
			true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_prepared_xacts");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Datum xid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		lane_hold(DatumGetTransactionId(xid), NULL, NULL, -1);
	}
	/* what only this process does begins anew, and has not failed yet */
	if (SPI_execute("UPDATE haul.duties SET last_error = NULL, failing_since = NULL"
					" WHERE command IS NULL AND last_error IS NOT NULL",
					false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write haul.duties");
	SPI_finish();
	background_commit();

	(void) guarded_own(&survey_at_first, GetCurrentTimestamp());
	survey.failing = survey_at_first.failing;
	(void) database_plan(database, DATABASE_TICK, GetCurrentTimestamp());
	database_serve(database);
	return true;
}

static void
work_until_idle(void)
{
	TimestampTz idle_since = GetCurrentTimestamp();

	for (;;)
	{
		static uint32 event = 0;
		TimestampTz now;
		TimestampTz next;
		TimestampTz pending;
		TimestampTz tick;

		ResetLatch(MyLatch);
		background_check();
		if (!database_take_wanted(database))
		{
			/* what enqueuers left to us before they knew */
			while (send_notices(0) < DT_NOEND)
				CHECK_FOR_INTERRUPTS();
			(void) tell_listeners();
			if (database_worker_ends(database, 0))
				return;
			continue;
		}
		if (!database_is_served() && !open_database())
			return;

		now = GetCurrentTimestamp();
		(void) guarded_own(&notify, now);
		pending = guarded_own(&listeners, now);
		now = GetCurrentTimestamp();
		pending = sooner(pending, watch_prepared(now));
		pending = sooner(pending, guarded("remove workers", watch_departed, now));
		pending = sooner(pending, guarded("remove workers", watch_silent, now));
		pending = sooner(pending, waiter_remind_overdue(database, now));
		next = sooner(pending, guarded_own(&promote, now));
		(void) guarded("fire schedules", fire, now);
		next = sooner(next, maintain(now));
		tick = guarded("fire schedules", fire, now);
		if (!TIMESTAMP_IS_NOEND(tick))
			next = sooner(next, sooner(tick, now + CLOCK_INTERVAL));
		next = sooner(next, guarded_own(&survey, now));
		next = sooner(next, guarded_own(&sweep, now));
		next = sooner(next, guarded_own(&notify, now));
		if (background_extension_gone())
			return;

		now = GetCurrentTimestamp();
		if (waiter_count(database) > 0 || !TIMESTAMP_IS_NOEND(pending) || sweep_is_under_way() ||
			survey_is_under_way() || tick <= now + NEAR)
			idle_since = now;
		if (background_is_in_the_way())
			next = now + LINGER;
		/* who is woken does not wake us, and may not come; with nobody there, it ends soon */
		next = Min(next, now + LINGER);
		if (waiter_count(database) == 0)
		{
			if ((now - idle_since >= LINGER && database_worker_ends(database, now)) ||
				(background_database_is_claimed() &&
				 database_worker_ends(database, now + AWAY_FOR)))
			{
				/* whoever began to wait just before that did not ask for a worker */
				if (waiter_count(database) > 0)
					database_wake_worker(database);
				return;
			}
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(now, next),
						 haul_wait_event(&event, "HaulWorker"));
	}
}

void
haul_caretaker_main(Datum arg)
{
	database = DatumGetObjectId(arg);
	background_signals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	if (!database_worker_began(database))
		proc_exit(0);

	/* Nothing here is lost in a crash that would not be done again. */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	background_settings();

	work_until_idle();
	if (background_is_in_the_way())
		(void) database_worker_ends(database, GetCurrentTimestamp() + AWAY_FOR);
	if (background_extension_gone())
	{
		database_set_state(database, DATABASE_ABSENT);
		lane_forget(database, InvalidOid);
		(void) database_worker_ends(database, DT_NOEND);
	}
	proc_exit(0);
}
