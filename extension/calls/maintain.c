/*
 * maintain.c: the parts of haul.maintain() that SQL cannot say.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "calls/call.h"
#include "job/transition.h"
#include "rows/job.h"
#include "rows/worker.h"
#include "rows/workflow_rows.h"
#include "shared/effects.h"

#define LONGEST_WAIT USECS_PER_SEC /* for another pass of maintenance */

static bool
try_lock_maintenance(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, haul_catalog()->folds, 0, 1);
	return LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

PG_FUNCTION_INFO_V1(haul_lock_maintenance);

Datum
haul_lock_maintenance(PG_FUNCTION_ARGS)
{
	bool wait = PG_GETARG_BOOL(0);
	TimestampTz end = GetCurrentTimestamp() + LONGEST_WAIT;
	bool locked;

	while (!(locked = try_lock_maintenance()) && wait && GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_BOOL(locked);
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
	bool of_workflows = PG_GETARG_BOOL(1);
	Call *call = call_open("haul.maintain()");
	MemoryContext caller = CurrentMemoryContext;
	LaneScan scan;
	TupleTableSlot *job = NULL;
	int64 expired = 0;

	/* jobs that expired have a floor, too, like those of a lane */
	lane_tag_expiry(&scan.tag);
	lane_scan_begin(&scan, call->generation, 0, 0);
	job_store_begin_expired(call->store, scan.from, call->now);
	while (expired < max_jobs && (job = job_store_next(call->store)) != NULL)
	{
		LaneKey key = {DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT)), job_id(job)};
		JobLock lock;

		call_next_job(call);
		if (!job_says(job, JOB_STATE, "ready"))
			;
		else if (job_is_null(job, JOB_WORKFLOW_ID) == of_workflows ||
				 (of_workflows && !workflow_knows(job_id(job))))
			lane_scan_passed(&scan, key, LANE_BUSY);
		else
		{
			lock = job_store_lock(call->store, job, LockWaitSkip);
			if (lock == JOB_LOCKED)
			{
				transition_expire(call, job);
				expired++;
			}
			else if (lock == JOB_BUSY)
				lane_scan_passed(&scan, key, LANE_BUSY);
		}
		scan.reached = (LaneKey){key.run_at, key.id + 1};
		MemoryContextSwitchTo(caller);
	}
	if (job == NULL)
		scan.reached = (LaneKey){call->now, PG_INT64_MAX};
	job_store_end_scan(call->store);
	effects_scanned(&scan);
	call_close(call);
	PG_RETURN_INT64(expired);
}
