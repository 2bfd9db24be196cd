/*
 * outcome.c: notes how jobs ended, for those who wait for it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "job/call_data.h"
#include "job/outcome.h"
#include "rows/job.h"
#include "shared/effects.h"

static Datum
copy_of(Datum value)
{
	return value == (Datum) 0 ? value : PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
}

static Datum
copy_of_column(TupleTableSlot *job, enum JobColumn column)
{
	return job_is_null(job, column) ? (Datum) 0 : copy_of(job_value(job, column));
}

/* The whole row, with the names of its columns; leaves much behind in the current memory context.
 */
static Datum
as_json(TupleTableSlot *job)
{
	HeapTuple tuple = heap_form_tuple(job->tts_tupleDescriptor, job->tts_values, job->tts_isnull);
	Datum row = heap_copy_tuple_as_datum(tuple, job->tts_tupleDescriptor);
	Datum json = DirectFunctionCall1(row_to_json, row);

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(json)));
}

void
outcome_note(Call *call, TupleTableSlot *job, JobState state, Datum result, bool repeats)
{
	MemoryContext caller;
	Outcome *outcome;

	effects_job_ended();
	if (job_is_null(job, JOB_WORKFLOW_ID) && job_is_null(job, JOB_REPLY_TO) &&
		job_is_null(job, JOB_CRON_NAME))
		return;

	caller = MemoryContextSwitchTo(MemoryContextGetParent(call->scratch));
	outcome = palloc0(sizeof(Outcome));
	outcome->id = job_id(job);
	outcome->claim = job_claim(job);
	outcome->attempt = job_attempt(job);
	outcome->state = state;
	outcome->repeats = repeats;
	if (!job_is_null(job, JOB_STARTED_AT))
		outcome->started_at = DatumGetTimestampTz(job_value(job, JOB_STARTED_AT));
	outcome->result = copy_of(result);
	if (!outcome_is_success(outcome))
		outcome->error = copy_of_column(job, JOB_LAST_ERROR);
	if (!job_is_null(job, JOB_WORKFLOW_ID))
		outcome->workflow = DatumGetInt64(job_value(job, JOB_WORKFLOW_ID));
	outcome->reply_to = (text *) DatumGetPointer(copy_of_column(job, JOB_REPLY_TO));
	outcome->cron_name = (text *) DatumGetPointer(copy_of_column(job, JOB_CRON_NAME));
	outcome->enqueued_by = (text *) DatumGetPointer(copy_of_column(job, JOB_ENQUEUED_BY));
	call->outcomes = lappend(call->outcomes, outcome);
	/* for a retry; one that is too long to be sent would be too long for this, too */
	if (outcome->workflow != 0 && !outcome_is_success(outcome) && job_is_deliverable(job))
	{
		MemoryContext call_context = MemoryContextSwitchTo(call->scratch);
		Datum json = as_json(job);

		MemoryContextSwitchTo(call_context);
		outcome->job = copy_of(json);
	}
	MemoryContextSwitchTo(caller);
}

void
outcome_free(Outcome *outcome)
{
	void *parts[] = {DatumGetPointer(outcome->result),
					 DatumGetPointer(outcome->error),
					 DatumGetPointer(outcome->job),
					 outcome->reply_to,
					 outcome->cron_name,
					 outcome->enqueued_by};

	for (int i = 0; i < lengthof(parts); i++)
		if (parts[i] != NULL)
			pfree(parts[i]);
	pfree(outcome);
}
