/*
 * transition.c: the changes of a job's state, each with its count and its record.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/times.h"
#include "job/outcome.h"
#include "job/transition.h"
#include "rows/claim.h"
#include "rows/job.h"
#include "rows/workflow_rows.h"
#include "shared/effects.h"

/* The lease that a running job belongs to; 0 for none. */
static int64
lease_of(TupleTableSlot *job)
{
	return job_is_null(job, JOB_LEASE_ID) ? 0 : DatumGetInt64(job_value(job, JOB_LEASE_ID));
}

static bool
is_periodic(TupleTableSlot *job)
{
	return !job_is_null(job, JOB_EVERY);
}

/* A job's first claim is a dispatch, later ones are retries. */
static Counter
claim_counter(TupleTableSlot *ready)
{
	return job_claim(ready) == 0 ? COUNT_DISPATCHES : COUNT_RETRIES;
}

static void
refuse_suppressed(TupleTableSlot *job, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("a trigger on haul.jobs suppressed that job " INT64_FORMAT " %s",
						   job_id(job), what),
					errhint("A BEFORE UPDATE trigger on haul.jobs must return NEW.")));
}

JobLock
transition_claim(Call *call, TupleTableSlot *job, int64 worker, int64 lease, bool confirm_start,
				 TupleTableSlot **claimed)
{
	TupleTableSlot *copy = job_store_edit(call->store, job);
	JobLock lock;

	Assert(job_is(job, JOB_READY));
	job_set_state(copy, JOB_RUNNING);
	job_set(copy, JOB_ATTEMPT, Int32GetDatum(job_attempt(job) + 1));
	job_set(copy, JOB_CLAIM, Int32GetDatum(claim_after(job_claim(job))));
	job_set(copy, JOB_WORKER_ID, Int64GetDatum(worker));
	job_set(copy, JOB_LEASE_ID, Int64GetDatum(lease));
	if (!confirm_start)
		job_set(copy, JOB_STARTED_AT, TimestampTzGetDatum(call->now));
	/* a periodic job could not have its key again for the next run */
	if (!job_is_null(job, JOB_UNIQUE_KEY) && job_says(job, JOB_UNIQUE_UNTIL, "started") &&
		!is_periodic(job))
		job_clear(copy, JOB_UNIQUE_KEY);
	lock = job_store_update_if_free(call->store, job);
	if (lock != JOB_LOCKED)
		return lock;
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), claim_counter(job), 0);
	slot_getallattrs(copy);
	*claimed = copy;
	return JOB_LOCKED;
}

void
transition_resume(Call *call, TupleTableSlot *job, int64 worker, int64 lease,
				  TimestampTz started_at)
{
	TupleTableSlot *copy = job_store_edit(call->store, job);
	LaneTag tag;

	Assert(job_is(job, JOB_READY));
	job_set_state(copy, JOB_RUNNING);
	job_set(copy, JOB_ATTEMPT, Int32GetDatum(job_attempt(job) + 1));
	job_set(copy, JOB_WORKER_ID, Int64GetDatum(worker));
	job_set(copy, JOB_LEASE_ID, Int64GetDatum(lease));
	job_set(copy, JOB_STARTED_AT, TimestampTzGetDatum(started_at));
	if (!job_store_update(call->store, job))
		refuse_suppressed(job, "is running again");
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), COUNT_RETRIES, 0);
	lane_tag(&tag, DatumGetTextPP(job_value(job, JOB_QUEUE)),
			 DatumGetInt16(job_value(job, JOB_PRIORITY)));
	effects_claimed(&tag, 1);
}

/* ---- ready ---- */

static Datum
after(TimestampTz at, Datum delay)
{
	return TimestampTzGetDatum(time_after(at, DatumGetIntervalP(delay)));
}

/* greatest(run_at, enqueued_at) + queue_timeout */
static Datum
queue_timeout_end(TupleTableSlot *job)
{
	TimestampTz from = Max(job_run_at(job), DatumGetTimestampTz(job_value(job, JOB_ENQUEUED_AT)));

	return after(from, job_value(job, JOB_QUEUE_TIMEOUT));
}

void
transition_made_ready(TupleTableSlot *job)
{
	effects_job_ready(job, false);
	if (!job_is_null(job, JOB_EXPIRES_AT))
		effects_job_expires(DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT)), job_id(job));
}

/*
 * The queue timeout is for jobs that have not been started. It begins anew with
 * a new run_at; an expiry given as a time does not outlive a snooze.
 */
static void
renew_expiry(TupleTableSlot *copy, bool new_run_at)
{
	if (job_attempt(copy) > 0)
		job_clear(copy, JOB_EXPIRES_AT);
	else if (new_run_at && !job_is_null(copy, JOB_QUEUE_TIMEOUT))
		job_set(copy, JOB_EXPIRES_AT, queue_timeout_end(copy));
	else if (new_run_at)
		job_clear(copy, JOB_EXPIRES_AT);
}

/* Writes the copy of a job that is ready now. */
static void
write_ready(Call *call, TupleTableSlot *job, TupleTableSlot *copy)
{
	job_set_state(copy, JOB_READY);
	job_clear(copy, JOB_WORKER_ID);
	job_clear(copy, JOB_LEASE_ID);
	job_clear(copy, JOB_STARTED_AT);
	if (!job_store_update(call->store, job))
		refuse_suppressed(job, "becomes ready");
	slot_getallattrs(copy);
	transition_made_ready(copy);
}

void
transition_release(Call *call, TupleTableSlot *job, TimestampTz run_at)
{
	TupleTableSlot *copy = job_store_edit(call->store, job);

	Assert(job_is(job, JOB_WAITING));
	job_set(copy, JOB_RUN_AT, TimestampTzGetDatum(Max(run_at, call->now)));
	if (!job_is_null(job, JOB_QUEUE_TIMEOUT))
		renew_expiry(copy, true);
	write_ready(call, job, copy);
}

bool
transition_requeue(Call *call, TupleTableSlot *job, const Requeue *how)
{
	TupleTableSlot *copy;

	Assert(job_is(job, JOB_RUNNING));
	if (!job_is_null(job, JOB_WORKFLOW_ID) && workflow_was_cancelled(job))
	{
		transition_end(call, job, JOB_CANCELLED, COUNT_CANCELS,
					   CStringGetTextDatum(WORKFLOW_CANCELLED));
		return false;
	}
	copy = job_store_edit(call->store, job);
	if (!how->charge)
		job_set(copy, JOB_ATTEMPT, Int32GetDatum(job_attempt(job) - 1));
	if (how->interrupted)
	{
		int interruptions = DatumGetInt16(job_value(job, JOB_INTERRUPTIONS));

		job_set(copy, JOB_INTERRUPTIONS, Int16GetDatum(Min(interruptions + 1, PG_INT16_MAX)));
		job_set(copy, JOB_INTERRUPTED_AT, TimestampTzGetDatum(call->now));
	}
	if (how->run_at != 0)
		job_set(copy, JOB_RUN_AT, TimestampTzGetDatum(how->run_at));
	if (how->queue != NULL)
		job_set(copy, JOB_QUEUE, PointerGetDatum(how->queue));
	if (how->error != (Datum) 0)
		job_set(copy, JOB_LAST_ERROR, how->error);
	renew_expiry(copy, how->run_at != 0);
	if (how->was_started)
		job_clear(copy, JOB_EXPIRES_AT);
	write_ready(call, job, copy);
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), how->counter, lease_of(job));
	return true;
}

/* ---- ends ---- */

/* Deletes a job that is locked, so that nobody can have changed it. */
static void
delete_locked(Call *call, TupleTableSlot *job)
{
	if (!job_store_delete(call->store, job))
		elog(ERROR, "job " INT64_FORMAT " was changed although it is locked", job_id(job));
}

static void
job_record_end(Call *call, TupleTableSlot *job, JobState state, Datum result, bool repeats)
{
	history_add_job(call->history, job, state, result);
	outcome_note(call, job, state, result, repeats);
}

/* A run of a locked periodic job is over: it is ready again, as if it had never run, but for the
 * claim, which is never handed out twice. */
static void
run_again(Call *call, TupleTableSlot *job, JobState state, Datum result)
{
	TupleTableSlot *copy = job_store_edit(call->store, job);

	job_set(copy, JOB_RUN_AT, after(call->now, job_value(job, JOB_EVERY)));
	job_set(copy, JOB_ATTEMPT, Int32GetDatum(0));
	job_set(copy, JOB_INTERRUPTIONS, Int16GetDatum(0));
	job_clear(copy, JOB_INTERRUPTED_AT);
	job_clear(copy, JOB_LAST_ERROR);
	job_clear(copy, JOB_PROGRESS);
	/* an expiry given as a time is one for all runs */
	if (!job_is_null(job, JOB_QUEUE_TIMEOUT))
		renew_expiry(copy, true);
	write_ready(call, job, copy);
	job_record_end(call, job, state, result, true);
}

bool
transition_complete(Call *call, TupleTableSlot *job, Datum result)
{
	Assert(job_is(job, JOB_RUNNING));
	if (is_periodic(job))
	{
		if (job_store_lock(call->store, job, LockWaitBlock) != JOB_LOCKED)
			return false;
		run_again(call, job, JOB_COMPLETED, result);
	}
	else
	{
		if (!job_store_delete(call->store, job))
			return false;
		job_record_end(call, job, JOB_COMPLETED, result, false);
	}
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), COUNT_COMPLETIONS, lease_of(job));
	return true;
}

bool
transition_complete_unclaimed(Call *call, TupleTableSlot *job, int64 worker, int32 claim,
							  Datum result)
{
	Assert(job_is(job, JOB_READY));
	if (is_periodic(job) ? job_store_lock(call->store, job, LockWaitBlock) != JOB_LOCKED
						 : !job_store_delete(call->store, job))
		return false;
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), claim_counter(job), 0);
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), COUNT_COMPLETIONS, 0);
	job_set(job, JOB_ATTEMPT, Int32GetDatum(job_attempt(job) + 1));
	job_set(job, JOB_CLAIM, Int32GetDatum(claim));
	job_set(job, JOB_WORKER_ID, Int64GetDatum(worker));
	if (is_periodic(job))
		run_again(call, job, JOB_COMPLETED, result);
	else
		job_record_end(call, job, JOB_COMPLETED, result, false);
	return true;
}

void
transition_end(Call *call, TupleTableSlot *job, JobState state, Counter counter, Datum reason)
{
	int64 lease = lease_of(job);

	Assert(job_is(job, JOB_RUNNING));
	job_set(job, JOB_LAST_ERROR, reason);
	if (is_periodic(job) && state == JOB_DISCARDED)
		run_again(call, job, state, (Datum) 0);
	else
	{
		delete_locked(call, job);
		job_record_end(call, job, state, (Datum) 0, false);
	}
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), counter, lease);
}

void
transition_drop(Call *call, TupleTableSlot *job, JobState state, Datum reason)
{
	Assert(!job_is(job, JOB_RUNNING));
	delete_locked(call, job);
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), COUNT_DROPS, 0);
	job_set(job, JOB_LAST_ERROR, reason);
	job_record_end(call, job, state, (Datum) 0, false);
}

void
transition_expire(Call *call, TupleTableSlot *job)
{
	Datum reason = CStringGetTextDatum(
		psprintf("not started by %s, its queue timeout",
				 timestamptz_to_str(DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT)))));

	Assert(job_is(job, JOB_READY) && job_is_expired(job, call->now));
	/* an expiry given as a time is no other for the next run */
	if (!is_periodic(job) || job_is_null(job, JOB_QUEUE_TIMEOUT))
	{
		transition_drop(call, job, JOB_DISCARDED, reason);
		return;
	}
	job_set(job, JOB_LAST_ERROR, reason);
	run_again(call, job, JOB_DISCARDED, (Datum) 0);
	ledger_count(call->ledger, job_value(job, JOB_QUEUE), COUNT_DROPS, 0);
}

/* ---- interruptions ---- */

void
transition_interrupt(Call *call, TupleTableSlot *job, bool worker_died)
{
	int interruptions = DatumGetInt16(job_value(job, JOB_INTERRUPTIONS)) + 1;
	JobState state = JOB_FAILED;
	Counter counter = COUNT_EXPIRIES;
	Requeue requeue = {.counter = COUNT_RELEASES};
	char *reason;

	if (job_is_null(job, JOB_STARTED_AT))
	{
		(void) transition_requeue(call, job, &requeue);
		return;
	}

	requeue.charge = true;
	requeue.interrupted = true;
	if (job_says(job, JOB_ON_INTERRUPT, "discard"))
	{
		state = JOB_DISCARDED;
		counter = COUNT_DISCARDS;
		reason = pstrdup("interrupted in mid-run");
	}
	else if (job_says(job, JOB_ON_INTERRUPT, "fail"))
		reason = pstrdup("interrupted in mid-run");
	else if (worker_died && interruptions >= haul_max_interruptions)
		reason = psprintf("its worker died in mid-run %d times", interruptions);
	else if (job_attempt(job) >= DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)))
		reason = psprintf("interrupted in mid-run at attempt %d, the last", job_attempt(job));
	else
	{
		(void) transition_requeue(call, job, &requeue);
		return;
	}

	job_set(job, JOB_INTERRUPTIONS, Int16GetDatum(Min(interruptions, PG_INT16_MAX)));
	job_set(job, JOB_INTERRUPTED_AT, TimestampTzGetDatum(call->now));
	transition_end(call, job, state, counter, CStringGetTextDatum(reason));
	if (counter == COUNT_EXPIRIES)
		history_add_error(call->history, job, (Datum) 0, CStringGetTextDatum(reason), (Datum) 0);
}

void
transition_charge(Call *call, TupleTableSlot *job, TimestampTz interrupted_at)
{
	TupleTableSlot *copy = job_store_edit(call->store, job);
	/* a job that is to run again has an attempt left */
	int most = DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)) - !job_is(job, JOB_RUNNING);
	int interruptions = DatumGetInt16(job_value(job, JOB_INTERRUPTIONS));

	job_set(copy, JOB_ATTEMPT, Int32GetDatum(Min(job_attempt(job) + 1, most)));
	job_set(copy, JOB_INTERRUPTIONS, Int16GetDatum(Min(interruptions + 1, PG_INT16_MAX)));
	job_set(copy, JOB_INTERRUPTED_AT, TimestampTzGetDatum(interrupted_at));
	if (!job_store_update(call->store, job))
		refuse_suppressed(job, "is charged with an interruption");
	/* a scan that meets the old version now passes over the job */
	if (job_is(job, JOB_READY))
	{
		slot_getallattrs(copy);
		transition_made_ready(copy);
	}
}
