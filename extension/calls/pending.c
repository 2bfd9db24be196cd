/*
 * pending.c: jobs that nobody runs are ended, or need wait no longer.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "calls/call.h"
#include "job/transition.h"
#include "rows/job.h"

PG_FUNCTION_INFO_V1(haul_cancel_pending);

/* Ends as cancelled those of the jobs that are ready or waiting; waits for whoever has one locked.
 */
Datum
haul_cancel_pending(PG_FUNCTION_ARGS)
{
	Datum *ids;
	int count = arguments_array(fcinfo, 0, "ids", INT8OID, &ids);
	Datum reason = PG_GETARG_DATUM(1);
	Call *call = call_open("haul._cancel_pending()");
	int64 cancelled = 0;

	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *job;
		bool pending;

		call_next_job(call);
		do
		{
			job = job_store_find(call->store, DatumGetInt64(ids[i]));
			pending = job != NULL && !job_is(job, JOB_RUNNING);
		} while (pending && job_store_lock(call->store, job, LockWaitBlock) != JOB_LOCKED);
		if (!pending)
			continue;
		transition_drop(call, job, JOB_CANCELLED, reason);
		cancelled++;
	}
	call_close(call);
	PG_RETURN_INT64(cancelled);
}

PG_FUNCTION_INFO_V1(haul_release_waiting);

/* Makes a parked job ready. False when there is none, or somebody has it locked: he is about to end
 * it, most likely, and is not waited for. */
Datum
haul_release_waiting(PG_FUNCTION_ARGS)
{
	Call *call = call_open("haul._release_waiting()");
	TupleTableSlot *job;
	bool found;

	call_next_job(call);
	job = job_store_find(call->store, PG_GETARG_INT64(0));
	found = job != NULL && job_store_lock(call->store, job, LockWaitSkip) == JOB_LOCKED;
	if (found && job_is(job, JOB_WAITING) && job_run_at(job) == JOB_PARKED)
		transition_release(call, job, call->now);
	call_close(call);
	PG_RETURN_BOOL(found);
}
