/*
 * maintain.c: the parts of haul.maintain() that SQL cannot say.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "calls/call.h"
#include "calls/maintain.h"
#include "job/transition.h"
#include "rows/job.h"
#include "rows/worker.h"
#include "rows/workflow_rows.h"
#include "shared/database.h"
#include "shared/effects.h"

#define LONGEST_WAIT USECS_PER_SEC /* for somebody else who has a lock */
#define LONGEST_PIECE (200 * 1000) /* of what there is to expire; microseconds */
#define MAINTENANCE "haul.maintain()"
#define JOBS_BETWEEN_LOOKS 64 /* at the clock */

/* Two locks, on the object haul._folds. */
enum MaintenanceLock
{
	LOCK_PASS,	   /* until the end of a pass: two at once would be in each other's way */
	LOCK_JOURNALS, /* until the end of the transaction that folds them */
};

static void
lock_tag(LOCKTAG *tag, enum MaintenanceLock lock)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, haul_catalog()->folds, lock, 1);
}

static bool
maintenance_try_lock(enum MaintenanceLock lock, bool wait)
{
	TimestampTz end = GetCurrentTimestamp() + LONGEST_WAIT;
	LOCKTAG tag;

	lock_tag(&tag, lock);
	while (LockAcquire(&tag, AccessExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		if (!wait || GetCurrentTimestamp() >= end)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

PG_FUNCTION_INFO_V1(haul_begin_pass);

Datum
haul_begin_pass(PG_FUNCTION_ARGS)
{
	bool wait = PG_GETARG_BOOL(0);

	PreventCommandDuringRecovery("haul.maintain()");
	PreventCommandIfReadOnly("haul.maintain()");
	if (!wait && database_is_served())
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(maintenance_try_lock(LOCK_PASS, wait));
}

PG_FUNCTION_INFO_V1(haul_ends_with_statement);

Datum
haul_ends_with_statement(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(GetCurrentTransactionNestLevel() == 1 && !IsTransactionBlock());
}

PG_FUNCTION_INFO_V1(haul_end_pass);

/* An error, in between, leaves the lock to the abort of the (sub)transaction. */
Datum
haul_end_pass(PG_FUNCTION_ARGS)
{
	LOCKTAG tag;

	lock_tag(&tag, LOCK_PASS);
	(void) LockRelease(&tag, AccessExclusiveLock, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(haul_lock_journals);

Datum
haul_lock_journals(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(maintenance_try_lock(LOCK_JOURNALS, PG_GETARG_BOOL(0)));
}

PG_FUNCTION_INFO_V1(haul_lock_worker);

Datum
haul_lock_worker(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(worker_lock(PG_GETARG_INT64(0), AccessExclusiveLock, false));
}

bool maintenance_left_jobs = false;

/* Whether the rest is left to the next pass. */
static bool
takes_long(const Call *call, int64 expired)
{
	return expired % JOBS_BETWEEN_LOOKS == JOBS_BETWEEN_LOOKS - 1 &&
		   GetCurrentTimestamp() - call->now > LONGEST_PIECE;
}

/* CALL_FAILED when somebody else has it locked: it is to be looked at again. */
static CallOutcome
expire(Call *call, TupleTableSlot *job)
{
	JobLock lock = job_store_lock(call->store, job, LockWaitSkip);

	if (lock == JOB_LOCKED)
		transition_expire(call, job);
	return lock == JOB_LOCKED ? CALL_DONE : lock == JOB_BUSY ? CALL_FAILED : CALL_NOTHING;
}

static bool
expire_apart(Call *call, int64 id, void *arg)
{
	TupleTableSlot *job = job_store_find(call->store, id);

	return job != NULL && job_is(job, JOB_READY) && job_is_expired(job, call->now) &&
		   expire(call, job) == CALL_DONE;
}

PG_FUNCTION_INFO_V1(haul_expire);

Datum
haul_expire(PG_FUNCTION_ARGS)
{
	int max_jobs = PG_GETARG_INT32(0);
	bool of_workflows = PG_GETARG_BOOL(1);
	Call *call = call_open(MAINTENANCE);
	MemoryContext caller = CurrentMemoryContext;
	LaneScan scan;
	TupleTableSlot *job = NULL;
	int64 expired = 0;

	/* jobs that expired have a floor, too, like those of a lane */
	lane_tag_expiry(&scan.tag);
	lane_scan_begin(&scan, call->generation, 0, 0);
	job_store_begin_expired(call->store, scan.from, call->now);
	while (expired < max_jobs && !takes_long(call, expired) &&
		   (job = job_store_next(call->store)) != NULL)
	{
		LaneKey key = {DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT)), job_id(job)};

		call_next_job(call);
		if (!job_is(job, JOB_READY))
			;
		else if (job_is_null(job, JOB_WORKFLOW_ID) == of_workflows ||
				 (of_workflows && !workflow_knows(job_id(job))))
			lane_scan_passed(&scan, key, LANE_BUSY);
		else
			switch (haul_one_by_one ? call_for_job(call, MAINTENANCE, expire_apart, key.id, NULL)
									: expire(call, job))
			{
				case CALL_DONE:
					expired++;
					break;
				case CALL_NOTHING:
					break;
				case CALL_FAILED:
					lane_scan_passed(&scan, key, LANE_BUSY);
					break;
			}
		scan.reached = (LaneKey){key.run_at, key.id + 1};
		MemoryContextSwitchTo(caller);
	}
	if (job == NULL)
		scan.reached = (LaneKey){call->now, PG_INT64_MAX};
	else
		maintenance_left_jobs = true;
	job_store_end_scan(call->store);
	effects_scanned(&scan);
	call_close(call);
	PG_RETURN_INT64(expired);
}
