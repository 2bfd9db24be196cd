/*
 * checkout_wait.c: a checkout that waits on the server until there is work.
 *
 * A procedure, because a function would hold its snapshot while it waits, and with
 * it the horizon of the whole cluster. Between two looks there is only a
 * transaction without a snapshot, a lock or a number. So it also works through a
 * pooler that hands out connections for a transaction at a time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "base/session_wait.h"
#include "base/shmem.h"
#include "calls/checkout.h"
#include "calls/life.h"
#include "shared/database.h"
#include "shared/waiter.h"

#define POLL_INTERVAL (USECS_PER_SEC / 2)	/* where nobody sees to it that we are woken */
#define CHECK_INTERVAL (10 * USECS_PER_SEC) /* elsewhere, should that change */

#define LONGEST_LOCK_WAIT 1000 /* milliseconds */

/* The call: portals' memory outlives the transactions in between. */
typedef struct Poll
{
	int64 worker;
	int max_jobs;
	TimestampTz until;
	bool alone; /* its transaction ends with it */
} Poll;

/* The plan of a checkout, made once in a session. */
static SPIPlanPtr
checkout_plan(void)
{
	static SPIPlanPtr kept = NULL;
	Oid types[] = {INT8OID, INT4OID};
	SPIPlanPtr plan;

	if (kept != NULL)
		return kept;
	plan = SPI_prepare("SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(j))"
					   " FROM haul.checkout($1, $2) AS j",
					   2, types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare a checkout: %s", SPI_result_code_string(SPI_result));
	return kept = plan;
}

/* What haul.checkout returns, as JSON; NULL if nothing. */
static Jsonb *
poll_look(const Poll *poll, MemoryContext context)
{
	Datum values[] = {Int64GetDatum(poll->worker), Int32GetDatum(poll->max_jobs)};
	int settings = NewGUCNestLevel();
	Jsonb *jobs = NULL;
	bool isnull;
	Datum value;

	/* what the session has set must not change how times and durations read */
	(void) set_config_option("intervalstyle", "iso_8601", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("timezone", "UTC", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 0, false);
	/* until it returns, the worker cannot say anything else */
	if (LockTimeout == 0 || LockTimeout > LONGEST_LOCK_WAIT)
		(void) set_config_option("lock_timeout", psprintf("%d", LONGEST_LOCK_WAIT), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	checkout_waits_by_latch = true;
	PG_TRY();
	{
		if (SPI_execute_plan(checkout_plan(), values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not check out");
	}
	PG_FINALLY();
	{
		checkout_waits_by_latch = false;
	}
	PG_END_TRY();
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		MemoryContext caller = MemoryContextSwitchTo(context);

		jobs = DatumGetJsonbPCopy(value);
		MemoryContextSwitchTo(caller);
	}
	SPI_freetuptable(SPI_tuptable);
	AtEOXact_GUC(true, settings);
	return jobs;
}

/* When to look again at the latest. A background worker that serves the database sees to it that we
 * are woken for jobs that come and jobs that fall due. */
static TimestampTz
look_again_at(const Poll *poll)
{
	Oid type = INT8OID;
	Datum worker = Int64GetDatum(poll->worker);
	TimestampTz now = GetCurrentTimestamp();
	bool served = database_is_served();
	TimestampTz again = now + (served && !checkout_passed_locked ? CHECK_INTERVAL : POLL_INTERVAL);
	Datum value;
	bool isnull;

	again = Min(poll->until, again);
	if (checkout_left_jobs)
		return now;
	if (served)
		return again;
	if (SPI_execute_with_args("SELECT haul.next_due($1)", 1, &type, &worker, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not ask for the next due time");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		TimeOffset wait = DatumGetIntervalP(value)->time;

		/* one that is due already was passed over: no reason to hurry */
		if (wait > 0)
			again = Min(again, now + wait);
	}
	SPI_freetuptable(SPI_tuptable);
	return again;
}

/* Sleeps until woken, or the time has come. */
static void
poll_sleep_until(TimestampTz time)
{
	static uint32 event = 0;

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now >= time || (haul_is_preloaded() && !waiter_is_waiting()))
			break;
		session_wait(TimestampDifferenceMilliseconds(now, time),
					 haul_wait_event(&event, "HaulCheckoutWait"));
	}
	/* nobody would get the jobs; may reset the latch, but now we look anyway */
	session_check_client();
}

/* A claim that is lost in a crash is a job that is ready again: its commit need not be flushed.
 * What else the transaction may yet do, must. */
static void
commit_without_flush(void)
{
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static Jsonb *
poll_until_found(const Poll *poll)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb *volatile jobs = NULL;

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	PG_TRY();
	{
		while ((jobs = poll_look(poll, context)) == NULL && GetCurrentTimestamp() < poll->until)
		{
			TimestampTz again = look_again_at(poll);

			SPI_commit();
			poll_sleep_until(again);
		}
		if (poll->alone)
			commit_without_flush();
	}
	PG_FINALLY();
	{
		waiter_leave();
	}
	PG_END_TRY();
	SPI_finish();
	return jobs;
}

PG_FUNCTION_INFO_V1(haul_checkout_wait);

Datum
haul_checkout_wait(PG_FUNCTION_ARGS)
{
	TupleDesc description;
	Poll poll;
	Jsonb *jobs;
	Datum value;
	bool isnull = false;

	arguments_refuse_null(fcinfo, 0, "worker_id");
	arguments_refuse_null(fcinfo, 1, "max_jobs");
	arguments_refuse_null(fcinfo, 2, "wait");
	session_refuse_transaction_block(fcinfo, "haul.checkout_wait", "call haul.checkout()");
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "haul.checkout_wait() must return a record");
	description = BlessTupleDesc(description);
	poll.worker = PG_GETARG_INT64(0);
	poll.max_jobs = PG_GETARG_INT32(1);
	poll.alone = session_is_calling(fcinfo);
	poll.until = session_wait_end(PG_GETARG_INTERVAL_P(2), "wait");

	life_sign(poll.worker);
	jobs = poll_until_found(&poll);
	value =
		jobs != NULL ? JsonbPGetDatum(jobs) : DirectFunctionCall1(jsonb_in, CStringGetDatum("[]"));
	return HeapTupleGetDatum(heap_form_tuple(description, &value, &isnull));
}
