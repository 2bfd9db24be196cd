/*
 * finish.c: what a worker says of the jobs it holds.
 *
 * Every call names jobs by (worker, id, claim). One that does not match what the
 * row says now is stale: it changes nothing and is reported as not owned.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "base/errors.h"
#include "base/json_size.h"
#include "base/settings.h"
#include "base/times.h"
#include "calls/call.h"
#include "calls/life.h"
#include "calls/offer.h"
#include "job/transition.h"
#include "rows/claim.h"
#include "rows/job.h"
#include "rows/retry.h"
#include "rows/worker.h"

/* ---- ownership ---- */

static bool
is_owned(TupleTableSlot *job, const Token *token)
{
	return job_is_held(job, token->worker) && job_claim(job) == token->claim;
}

/* A claim's commit is not flushed, so a crash of the server may have lost it: the
 * job is ready, with a claim below the token. */
static bool
lost_its_claim(TupleTableSlot *job, const Token *token)
{
	return job_is(job, JOB_READY) && job_claim(job) < token->claim &&
		   claim_is_from_before(token->claim);
}

/* Whether the server may have crashed since the worker registered. Recovery from a
 * crash resets the statistics of the background writer; so can an operator, which is
 * harmless here. */
static bool
server_crashed_under(int64 worker_id)
{
	Worker *worker = worker_find(worker_id);

	return worker != NULL &&
		   pgstat_fetch_stat_bgwriter()->stat_reset_timestamp >= worker->started_at;
}

/* Whether the worker was given up, but nobody else has taken the job yet: then it is its own
 * again. Look again at the job. */
static bool
job_take_back(Call *call, TupleTableSlot *job, const Token *token)
{
	return job_is(job, JOB_READY) && job_claim(job) == token->claim &&
		   offer_take_back(call, token->worker, token->id, token->claim);
}

/* The job, locked, if it is the worker's; NULL if not. */
static TupleTableSlot *
lock_owned(Call *call, const Token *token)
{
	for (;;)
	{
		TupleTableSlot *job = job_store_find(call->store, token->id);

		if (job == NULL)
			return NULL;
		if (is_owned(job, token))
		{
			if (job_store_lock(call->store, job, LockWaitBlock) == JOB_LOCKED)
				return job;
		}
		else if (!job_take_back(call, job, token))
			return NULL;
	}
}

/* ---- many jobs ---- */

typedef bool (*Apply)(Call *call, const Token *token, int position, void *arg);

/* Applies something to each job, and returns the ids of those for which that was
 * false: those that are not owned. */
static ArrayType *
apply_to_jobs(FunctionCallInfo fcinfo, const char *command, Apply apply, void *arg)
{
	NamedJob *jobs;
	int count = arguments_jobs(fcinfo, &jobs);
	Datum *missed = palloc((count + 1) * sizeof(Datum));
	int nmissed = 0;
	Call *call;

	arguments_refuse_null(fcinfo, 0, "worker_id");
	call = call_open(command);
	life_sign(PG_GETARG_INT64(0));
	for (int i = 0; i < count; i++)
	{
		Token token = {PG_GETARG_INT64(0), jobs[i].id, jobs[i].claim};

		call_next_job(call);
		if (!apply(call, &token, jobs[i].position, arg))
			missed[nmissed++] = Int64GetDatum(jobs[i].id);
	}
	call_close(call);
	return construct_array(missed, nmissed, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

typedef struct Results
{
	Datum *values; /* NULL: none */
	bool *nulls;
	int crashed; /* -1: not looked up yet */
} Results;

static bool
complete_job(Call *call, const Token *token, int position, void *arg)
{
	Results *results = arg;
	Datum result =
		results->values == NULL || results->nulls[position] ? (Datum) 0 : results->values[position];

	for (;;)
	{
		TupleTableSlot *job = job_store_find(call->store, token->id);

		if (job == NULL)
			return false;
		if (is_owned(job, token))
		{
			if (transition_complete(call, job, result))
				return true;
		}
		else if (lost_its_claim(job, token))
		{
			if (results->crashed < 0)
				results->crashed = server_crashed_under(token->worker);
			if (!results->crashed)
				return false;
			if (transition_complete_unclaimed(call, job, token->worker, token->claim, result))
				return true;
		}
		else if (!job_take_back(call, job, token))
			return false;
		/* changed since it was read: look again */
	}
}

PG_FUNCTION_INFO_V1(haul_complete);

Datum
haul_complete(PG_FUNCTION_ARGS)
{
	Results results = {NULL, NULL, -1};
	ArrayType *missed;
	bool strict = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);

	if (!PG_ARGISNULL(3))
	{
		Datum *ids;
		int count;

		deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), JSONBOID, -1, false, TYPALIGN_INT,
						  &results.values, &results.nulls, &count);
		arguments_refuse_lengths("results", count,
								 arguments_array(fcinfo, 1, "ids", INT8OID, &ids));
		for (int i = 0; i < count; i++)
			if (!results.nulls[i] && !json_fits(results.values[i], haul_max_args_size))
				json_refuse_long(results.values[i],
								 psprintf("result of job " INT64_FORMAT, DatumGetInt64(ids[i])));
	}
	missed = apply_to_jobs(fcinfo, "haul.complete()", complete_job, &results);
	if (strict && ARR_NDIM(missed) > 0)
		ereport(ERROR, (errcode(ERRCODE_HAUL_NOT_OWNED),
						errmsg("worker " INT64_FORMAT " no longer owns job " INT64_FORMAT,
							   PG_GETARG_INT64(0), ((int64 *) ARR_DATA_PTR(missed))[0]),
						errdetail("Its claim is stale: the job was given to another worker, given "
								  "back, or has ended.")));
	PG_RETURN_ARRAYTYPE_P(missed);
}

static bool
release_job(Call *call, const Token *token, int position, void *arg)
{
	bool started = *(bool *) arg;
	Requeue requeue = {.counter = COUNT_RELEASES};
	TupleTableSlot *job = lock_owned(call, token);

	if (job == NULL)
		return false;
	if (started)
		transition_interrupt(call, job, false);
	else
		(void) transition_requeue(call, job, &requeue);
	return true;
}

PG_FUNCTION_INFO_V1(haul_release);

Datum
haul_release(PG_FUNCTION_ARGS)
{
	bool started;

	arguments_refuse_null(fcinfo, 3, "started");
	started = PG_GETARG_BOOL(3);
	PG_RETURN_ARRAYTYPE_P(apply_to_jobs(fcinfo, "haul.release()", release_job, &started));
}

static bool
start_job(Call *call, const Token *token, int position, void *arg)
{
	TupleTableSlot *job = lock_owned(call, token);
	TupleTableSlot *copy;

	if (job == NULL)
		return false;
	copy = job_store_edit(call->store, job);
	job_set(copy, JOB_STARTED_AT, TimestampTzGetDatum(call->now));
	return job_store_update(call->store, job);
}

PG_FUNCTION_INFO_V1(haul_start);

Datum
haul_start(PG_FUNCTION_ARGS)
{
	PG_RETURN_ARRAYTYPE_P(apply_to_jobs(fcinfo, "haul.start()", start_job, NULL));
}

/* Whether what the worker makes of the job still counts; nothing is locked or changed. */
static bool
still_counts(TupleTableSlot *job, const Token *token, const Worker *worker)
{
	if (is_owned(job, token))
		return true;
	/* offered to others: its worker is back, and gets it back if nobody has taken it */
	if (worker->is_lost && job_is(job, JOB_READY) && job_claim(job) == token->claim)
		return true;
	return lost_its_claim(job, token) && server_crashed_under(token->worker);
}

PG_FUNCTION_INFO_V1(haul_not_owned);

Datum
haul_not_owned(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	NamedJob *jobs;
	int count = arguments_jobs(fcinfo, &jobs);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Worker *worker;
	JobStore *store;

	PreventCommandDuringRecovery("haul.not_owned()");
	InitMaterializedSRF(fcinfo, 0);
	life_sign(id);
	worker = worker_find(id);
	store = job_store_open();
	for (int i = 0; i < count; i++)
	{
		Token token = {id, jobs[i].id, jobs[i].claim};
		TupleTableSlot *job = worker != NULL ? job_store_find(store, token.id) : NULL;

		if (job == NULL || !still_counts(job, &token, worker))
		{
			Datum values[] = {Int64GetDatum(token.id), Int32GetDatum(token.claim)};
			bool nulls[lengthof(values)] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	job_store_close(store);
	return (Datum) 0;
}

/* ---- one job ---- */

/* Opens a call about one job; the job is NULL when it is not owned. */
static Call *
open_call_for_job(const Token *token, const char *command, TupleTableSlot **job)
{
	Call *call = call_open(command);

	life_sign(token->worker);
	call_next_job(call);
	*job = lock_owned(call, token);
	return call;
}

static void
check_delay(const Interval *delay, const char *name)
{
	const char *problem = interval_problem(delay, 0);

	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s %s: %s", name, problem,
					DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(delay))))));
}

PG_FUNCTION_INFO_V1(haul_fail);

Datum
haul_fail(PG_FUNCTION_ARGS)
{
	Token token = arguments_token(fcinfo);
	bool final = !PG_ARGISNULL(7) && PG_GETARG_BOOL(7);
	JobState outcome = JOB_FAILED;
	Requeue requeue = {.counter = COUNT_FAILURES, .charge = true};
	TupleTableSlot *job;
	Call *call;

	arguments_refuse_null(fcinfo, 3, "error");
	if (!PG_ARGISNULL(5))
		check_delay(PG_GETARG_INTERVAL_P(5), "retry_in");
	if (!PG_ARGISNULL(6))
	{
		int length;

		requeue.queue = PG_GETARG_TEXT_PP(6);
		length = pg_mbstrlen_with_len(VARDATA_ANY(requeue.queue), VARSIZE_ANY_EXHDR(requeue.queue));
		if (length < 1 || length > 63)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("retry_queue \"%s\" must have 1 to 63 characters",
								   text_to_cstring(requeue.queue))));
	}
	requeue.error = text_cut(PG_GETARG_DATUM(3));
	if (!PG_ARGISNULL(4))
		json_refuse_long(PG_GETARG_DATUM(4), "detail");

	call = open_call_for_job(&token, "haul.fail()", &job);
	if (job != NULL)
	{
		Worker *worker = worker_find(token.worker);
		Datum name = worker != NULL ? PointerGetDatum(worker->name) : (Datum) 0;
		Datum detail = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);

		if (final || job_attempt(job) >= DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)))
			transition_end(call, job, outcome, COUNT_EXPIRIES, requeue.error);
		else
		{
			requeue.run_at = PG_ARGISNULL(5) ? retry_at(job, call->now)
											 : time_after(call->now, PG_GETARG_INTERVAL_P(5));
			outcome = transition_requeue(call, job, &requeue) ? JOB_READY : JOB_CANCELLED;
		}
		history_add_error(call->history, job, name, requeue.error, detail);
	}
	call_close(call);
	if (job == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(job_state_word(outcome)));
}

/* Ends a job without success, for the reason given as argument 3. */
static Datum
end_job(FunctionCallInfo fcinfo, const char *command, JobState state, Counter counter)
{
	Token token = arguments_token(fcinfo);
	TupleTableSlot *job;
	Call *call;

	arguments_refuse_null(fcinfo, 3, "reason");
	call = open_call_for_job(&token, command, &job);
	if (job != NULL)
		transition_end(call, job, state, counter, text_cut(PG_GETARG_DATUM(3)));
	call_close(call);
	PG_RETURN_BOOL(job != NULL);
}

PG_FUNCTION_INFO_V1(haul_discard);

Datum
haul_discard(PG_FUNCTION_ARGS)
{
	return end_job(fcinfo, "haul.discard()", JOB_DISCARDED, COUNT_DISCARDS);
}

PG_FUNCTION_INFO_V1(haul_cancelled);

Datum
haul_cancelled(PG_FUNCTION_ARGS)
{
	return end_job(fcinfo, "haul.cancelled()", JOB_CANCELLED, COUNT_CANCELS);
}

PG_FUNCTION_INFO_V1(haul_snooze);

Datum
haul_snooze(PG_FUNCTION_ARGS)
{
	Token token = arguments_token(fcinfo);
	Requeue requeue = {.counter = COUNT_RELEASES};
	TupleTableSlot *job;
	Call *call;

	arguments_refuse_null(fcinfo, 3, "delay");
	check_delay(PG_GETARG_INTERVAL_P(3), "delay");
	call = open_call_for_job(&token, "haul.snooze()", &job);
	requeue.run_at = time_after(call->now, PG_GETARG_INTERVAL_P(3));
	if (job != NULL)
		(void) transition_requeue(call, job, &requeue);
	call_close(call);
	PG_RETURN_BOOL(job != NULL);
}

PG_FUNCTION_INFO_V1(haul_progress);

Datum
haul_progress(PG_FUNCTION_ARGS)
{
	Token token = arguments_token(fcinfo);
	TupleTableSlot *job;
	Call *call;
	bool owned = false;

	if (!PG_ARGISNULL(3))
		json_refuse_long(PG_GETARG_DATUM(3), "progress");
	call = open_call_for_job(&token, "haul.progress()", &job);
	if (job != NULL)
	{
		TupleTableSlot *copy = job_store_edit(call->store, job);

		if (PG_ARGISNULL(3))
			job_clear(copy, JOB_PROGRESS);
		else
			job_set(copy, JOB_PROGRESS, PG_GETARG_DATUM(3));
		owned = job_store_update(call->store, job);
	}
	call_close(call);
	PG_RETURN_BOOL(owned);
}
