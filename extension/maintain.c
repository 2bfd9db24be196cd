/*
 * maintain.c: the parts of haul.maintain() that SQL cannot say.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"

#include "compat.h"
#include "catalog.h"
#include "job.h"
#include "transition.h"
#include "worker.h"

PG_FUNCTION_INFO_V1(haul_lock_maintenance);

Datum
haul_lock_maintenance(PG_FUNCTION_ARGS)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, haul_catalog()->folds, 0, 1);
	PG_RETURN_BOOL(LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

PG_FUNCTION_INFO_V1(haul_lock_worker);

Datum
haul_lock_worker(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(worker_lock(PG_GETARG_INT64(0), AccessExclusiveLock, false));
}

PG_FUNCTION_INFO_V1(haul_expire);

Datum
haul_expire(PG_FUNCTION_ARGS)
{
	int max_jobs = PG_GETARG_INT32(0);
	Call *call = call_open("haul.maintain()");
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *job;
	int64 expired = 0;

	job_store_begin_expired(call->store, call->now);
	while (expired < max_jobs && (job = job_store_next(call->store)) != NULL)
	{
		call_next_job(call);
		if (job_says(job, JOB_STATE, "ready") && job_store_lock(call->store, job, LockWaitSkip))
		{
			transition_expire(call, job);
			expired++;
		}
		MemoryContextSwitchTo(caller);
	}
	job_store_end_scan(call->store);
	call_close(call);
	PG_RETURN_INT64(expired);
}
