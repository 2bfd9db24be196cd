/*
 * wait_for.c: haul.wait_for() waits on the server until a job has ended.
 *
 * A procedure, like haul.checkout_wait(): between two looks it has no transaction that could hold
 * anything up. A look is a probe of the primary key; where the job went is looked up once it is
 * gone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "base/catalog.h"
#include "base/session_wait.h"
#include "base/shmem.h"
#include "job/job_store.h"
#include "rows/job.h"
#include "shared/awaiting.h"

#define REST 5				/* milliseconds between looks, however many jobs end */
#define FIRST_POLL 10		/* where nobody wakes us: the first pause, */
#define LONGEST_POLL 500	/* and the longest */
#define CHECK_INTERVAL 2000 /* elsewhere: prepared transactions wake nobody */

/* What is waited for, and what became of it: lives through the transactions. */
typedef struct Await
{
	int64 id;
	TimestampTz since;
	TimestampTz until;
	MemoryContext context;
	MemoryContext look; /* for one look */
	bool seen;			/* it was live once, */
	bool periodic;		/* and comes again: */
	int32 claim;		/* the run waited for has this claim, or a later one */
	int32 last_claim;	/* as it was seen last */
	JobState state;		/* likewise */
	bool over;
	Datum values[3]; /* state, result, error */
	bool nulls[3];
} Await;

static bool
may_see_all(void)
{
	return pg_class_aclcheck(haul_catalog()->jobs, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

static void
set_text(Await *await, int column, const char *value)
{
	MemoryContext caller = MemoryContextSwitchTo(await->context);

	await->values[column] = CStringGetTextDatum(value);
	await->nulls[column] = false;
	MemoryContextSwitchTo(caller);
}

static bool
may_see(TupleTableSlot *job)
{
	return may_see_all() || job_says(job, JOB_ENQUEUED_BY, GetUserNameFromId(GetUserId(), false));
}

/* Whether the job is live, and so is the run that is waited for, as far as can be seen. */
static bool
is_live(Await *await)
{
	JobStore *store = job_store_open();
	TupleTableSlot *job = job_store_find(store, await->id);
	bool live = job != NULL && may_see(job);
	bool first = live && !await->seen;

	if (first)
	{
		await->seen = true;
		await->periodic = !job_is_null(job, JOB_EVERY);
		await->claim = job_claim(job) + !job_is(job, JOB_RUNNING);
	}
	if (live)
	{
		JobState state = job_state(job);
		bool changed = first || job_claim(job) != await->last_claim || state != await->state;

		await->state = state;
		await->last_claim = job_claim(job);
		/* the history tells whether a run is over, and whether it has changed says when to ask */
		live = !await->periodic || !changed;
	}
	job_store_close(store);
	return live;
}

/* What the history has of the job, or of the run; false when it has nothing. */
static bool
find_outcome(Await *await)
{
	static const char *const commands[] = {
		"SELECT state, result, last_error FROM haul.my_jobs"
		" WHERE id OPERATOR(pg_catalog.=) $1 AND finished_at IS NOT NULL"
		" AND ($2 OR claim OPERATOR(pg_catalog.>=) $3 OR finished_at OPERATOR(pg_catalog.>=) $4)"
		" ORDER BY finished_at USING OPERATOR(pg_catalog.>) LIMIT 1",
		"SELECT state, result, last_error FROM haul.finished_jobs"
		" WHERE id OPERATOR(pg_catalog.=) $1"
		" AND ($2 OR claim OPERATOR(pg_catalog.>=) $3 OR finished_at OPERATOR(pg_catalog.>=) $4)"
		" ORDER BY finished_at USING OPERATOR(pg_catalog.>) LIMIT 1",
	};
	Oid types[] = {INT8OID, BOOLOID, INT4OID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(await->id), BoolGetDatum(!await->periodic),
					  Int32GetDatum(await->claim), TimestampTzGetDatum(await->since)};
	MemoryContext caller;

	if (SPI_execute_with_args(commands[may_see_all()], lengthof(types), types, values, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not read haul.finished_jobs");
	if (SPI_processed == 0)
		return false;
	caller = MemoryContextSwitchTo(await->context);
	for (int i = 0; i < lengthof(await->values); i++)
	{
		Datum value =
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &await->nulls[i]);

		if (!await->nulls[i])
			await->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	}
	MemoryContextSwitchTo(caller);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Has the job, or the run, ended? In a transaction of its own, so that all parts of the look see
 * the same or more. */
static void
await_look(Await *await)
{
	MemoryContext caller = MemoryContextSwitchTo(await->look);

	if (!is_live(await))
	{
		bool gone = !await->periodic || !await->seen;

		await->over = find_outcome(await);
		if (!await->over && await->periodic)
		{
			/* it changed; or was cancelled by hand, and is not kept */
			JobStore *store = job_store_open();

			gone = job_store_find(store, await->id) == NULL;
			job_store_close(store);
		}
		if (!await->over && !await->seen)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
							errmsg("there is no job " INT64_FORMAT, await->id),
							errhint("It may have ended and no longer be kept; or it is not one "
									"that you enqueued.")));
		if (!await->over && gone)
		{
			await->over = true;
			set_text(await, 0, "unknown");
			set_text(await, 2, "the job ended, but is not kept");
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(await->look);
}

static void
look_until_over(Await *await)
{
	static uint32 event = 0;
	bool woken = haul_is_preloaded() && !RecoveryInProgress();
	long pause = FIRST_POLL;

	/* the first look, too, must not see less than what has been committed by now */
	SPI_commit();
	for (;;)
	{
		TimestampTz now;
		TimestampTz rested;

		await_look(await);
		now = GetCurrentTimestamp();
		if (await->over || now >= await->until)
			break;
		SPI_commit();

		rested = TimestampTzPlusMilliseconds(now, REST);
		session_wait(
			Min(woken ? CHECK_INTERVAL : pause, TimestampDifferenceMilliseconds(now, await->until)),
			haul_wait_event(&event, "HaulWaitFor"));
		pause = Min(pause * 3 / 2, LONGEST_POLL);
		while ((now = GetCurrentTimestamp()) < Min(rested, await->until))
			session_wait(TimestampDifferenceMilliseconds(now, rested),
						 haul_wait_event(&event, "HaulWaitFor"));
		session_check_client();
	}
	if (!await->over)
		set_text(await, 0, job_state_word(await->state));
}

PG_FUNCTION_INFO_V1(haul_wait_for);

Datum
haul_wait_for(PG_FUNCTION_ARGS)
{
	Await await = {.context = CurrentMemoryContext, .nulls = {true, true, true}};
	TupleDesc description;

	arguments_refuse_null(fcinfo, 0, "id");
	arguments_refuse_null(fcinfo, 1, "timeout");
	session_refuse_transaction_block(fcinfo, "haul.wait_for", "look at haul.my_jobs");
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "haul.wait_for() must return a record");
	description = BlessTupleDesc(description);
	await.look = AllocSetContextCreate(CurrentMemoryContext, "pg_haul look", ALLOCSET_SMALL_SIZES);
	await.id = PG_GETARG_INT64(0);
	await.since = GetCurrentTimestamp();
	await.until = session_wait_end(PG_GETARG_INTERVAL_P(1), "timeout");

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	awaiting_begin();
	PG_TRY();
	{
		look_until_over(&await);
	}
	PG_FINALLY();
	{
		awaiting_end();
	}
	PG_END_TRY();
	SPI_finish();
	return HeapTupleGetDatum(heap_form_tuple(description, await.values, await.nulls));
}
