/*
 * deleted.c: jobs that somebody deletes by hand, as the triggers on DELETE see them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "calls/call.h"
#include "job/outcome.h"
#include "journal/ledger.h"
#include "rows/job.h"
#include "shared/effects.h"

PG_FUNCTION_INFO_V1(haul_count_deleted_jobs);

/* haul._count_deleted_jobs(): jobs of one queue. */
Datum
haul_count_deleted_jobs(PG_FUNCTION_ARGS)
{
	Ledger *ledger = ledger_open(GetCurrentTimestamp());
	Datum queue = PG_GETARG_DATUM(0);
	int64 lease = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);

	ledger_count_many(ledger, queue, COUNT_CANCELS, lease, PG_GETARG_INT32(2));
	ledger_count_many(ledger, queue, COUNT_DROPS, 0, PG_GETARG_INT32(3));
	ledger_close(ledger);
	effects_job_ended();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(haul_tell_deleted);

/* haul._tell_deleted(haul.jobs): a job that the trigger on DELETE saw. */
Datum
haul_tell_deleted(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc columns =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	TupleTableSlot *job = MakeSingleTupleTableSlot(columns, &TTSOpsHeapTuple);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
	Call *call = call_open("DELETE");

	ExecStoreHeapTuple(&tuple, job, false);
	slot_getallattrs(job);
	call_next_job(call);
	job_set(job, JOB_LAST_ERROR, CStringGetTextDatum("the job was deleted"));
	if (job_is(job, JOB_RUNNING))
		history_add_job(call->history, job, JOB_CANCELLED, (Datum) 0);
	outcome_note(call, job, JOB_CANCELLED, (Datum) 0, false);
	call_close(call);
	ExecDropSingleTupleTableSlot(job);
	ReleaseTupleDesc(columns);
	PG_RETURN_VOID();
}
