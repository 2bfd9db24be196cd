/*
 * outcome.c: how jobs ended, told to those who wait for it: workflows, schedules, enqueuers.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/table_writer.h"
#include "job/outcome.h"
#include "job/transition.h"
#include "rows/job.h"
#include "shared/effects.h"
#include "workflow/workflow.h"

/* columns of haul.replies */
enum ReplyColumn
{
	REPLY_ID,
	REPLY_REPLY_TO,
	REPLY_JOB_ID,
	REPLY_CLAIM,
	REPLY_ATTEMPT,
	REPLY_STATE,
	REPLY_RESULT,
	REPLY_ERROR,
	REPLY_REPEATS,
	REPLY_FINISHED_AT,
	REPLY_ENQUEUED_BY,
};

/* ---- noting ---- */

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
outcome_note(Call *call, TupleTableSlot *job, const char *state, Datum result, bool repeats)
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
	outcome->enqueued_by = pstrdup(NameStr(*DatumGetName(job_value(job, JOB_ENQUEUED_BY))));
	call->outcomes = lappend(call->outcomes, outcome);
	if (outcome->workflow != 0 && !outcome_is_success(outcome))
	{
		MemoryContext call_context = MemoryContextSwitchTo(call->scratch);
		Datum json = as_json(job);

		MemoryContextSwitchTo(call_context);
		outcome->job = copy_of(json);
	}
	MemoryContextSwitchTo(caller);
}

/* What was told is not needed any more, and there may be many. */
static void
free_outcome(Outcome *outcome)
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

/* ---- telling ---- */

/* A row in the mailbox, and a NOTIFY to whoever listens. */
static void
reply(Call *call, const Outcome *outcome, TableWriter **replies)
{
	TupleTableSlot *row;
	NameData enqueued_by;

	if (*replies == NULL)
		*replies = table_writer_open(haul_catalog()->replies);
	namestrcpy(&enqueued_by, outcome->enqueued_by);
	row = table_writer_row(*replies);
	table_writer_set(row, REPLY_ID,
					 Int64GetDatum(nextval_internal(haul_catalog()->replies_id_seq, false)));
	table_writer_set(row, REPLY_REPLY_TO, PointerGetDatum(outcome->reply_to));
	table_writer_set(row, REPLY_JOB_ID, Int64GetDatum(outcome->id));
	table_writer_set(row, REPLY_CLAIM, Int32GetDatum(outcome->claim));
	table_writer_set(row, REPLY_ATTEMPT, Int32GetDatum(outcome->attempt));
	table_writer_set(row, REPLY_STATE, CStringGetTextDatum(outcome->state));
	if (outcome->result != (Datum) 0)
		table_writer_set(row, REPLY_RESULT, outcome->result);
	if (outcome->error != (Datum) 0)
		table_writer_set(row, REPLY_ERROR, outcome->error);
	table_writer_set(row, REPLY_REPEATS, BoolGetDatum(outcome->repeats));
	table_writer_set(row, REPLY_FINISHED_AT, TimestampTzGetDatum(call->now));
	table_writer_set(row, REPLY_ENQUEUED_BY, NameGetDatum(&enqueued_by));
	table_writer_add(*replies);
	effects_replied(outcome->reply_to);
}

static void
tell_schedule(Call *call, const Outcome *outcome)
{
	static Oid types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {
		Int64GetDatum(outcome->id),			 PointerGetDatum(outcome->cron_name),
		CStringGetTextDatum(outcome->state), TimestampTzGetDatum(outcome->started_at),
		TimestampTzGetDatum(call->now),		 outcome->error,
	};
	char nulls[] = "      ";

	if (outcome->started_at == 0)
		nulls[3] = 'n';
	if (outcome->error == (Datum) 0)
		nulls[5] = 'n';
	haul_run_as_owner("SELECT haul._cron_job_ended($1, $2, $3, $4, $5, $6)", lengthof(types), types,
					  values, nulls);
}

void
outcomes_tell(Call *call)
{
	TableWriter *replies = NULL;
	WorkflowChange *change = NULL;
	int told = 0; /* those before are freed */

	/* each may end others, which are noted behind it */
	do
	{
		for (; told < list_length(call->outcomes); told++)
		{
			Outcome *outcome = list_nth(call->outcomes, told);

			if (outcome->reply_to != NULL)
				reply(call, outcome, &replies);
			if (outcome->cron_name != NULL)
				tell_schedule(call, outcome);
			if (outcome->workflow != 0)
			{
				if (change == NULL)
					change = workflow_change_open(call);
				workflow_job_ended(change, outcome);
			}
			free_outcome(outcome);
		}
	} while (change != NULL && workflow_change_step(change));
	if (change != NULL)
		workflow_change_close(change);
	if (replies != NULL)
		table_writer_close(replies);
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
	outcome_note(call, job, "cancelled", (Datum) 0, false);
	call_close(call);
	ExecDropSingleTupleTableSlot(job);
	ReleaseTupleDesc(columns);
	PG_RETURN_VOID();
}
