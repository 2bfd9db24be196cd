/*
 * consequence.c: how jobs ended is told to those who wait for it: workflows, schedules, enqueuers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "base/table_writer.h"
#include "job/outcome.h"
#include "shared/effects.h"
#include "workflow/consequence.h"
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

static const Column reply_list[] = {
	[REPLY_ID] = {"id", INT8OID},
	[REPLY_REPLY_TO] = {"reply_to", TEXTOID},
	[REPLY_JOB_ID] = {"job_id", INT8OID},
	[REPLY_CLAIM] = {"claim", INT4OID},
	[REPLY_ATTEMPT] = {"attempt", INT4OID},
	[REPLY_STATE] = {"state", TEXTOID},
	[REPLY_RESULT] = {"result", JSONBOID},
	[REPLY_ERROR] = {"error", TEXTOID},
	[REPLY_REPEATS] = {"repeats", BOOLOID},
	[REPLY_FINISHED_AT] = {"finished_at", TIMESTAMPTZOID},
	[REPLY_ENQUEUED_BY] = {"enqueued_by", TEXTOID},
	{NULL, InvalidOid},
};
static Columns reply_columns = COLUMNS(reply_list);

/* A row in the mailbox, and a NOTIFY to whoever listens. */
static void
reply(Call *call, const Outcome *outcome, TableWriter **replies)
{
	if (*replies == NULL)
		*replies = table_writer_open(haul_catalog()->replies, &reply_columns);
	table_writer_begin_row(*replies);
	table_writer_set(*replies, REPLY_ID,
					 Int64GetDatum(nextval_internal(haul_catalog()->replies_id_seq, false)));
	table_writer_set(*replies, REPLY_REPLY_TO, PointerGetDatum(outcome->reply_to));
	table_writer_set(*replies, REPLY_JOB_ID, Int64GetDatum(outcome->id));
	table_writer_set(*replies, REPLY_CLAIM, Int32GetDatum(outcome->claim));
	table_writer_set(*replies, REPLY_ATTEMPT, Int32GetDatum(outcome->attempt));
	table_writer_set(*replies, REPLY_STATE, CStringGetTextDatum(job_state_word(outcome->state)));
	if (outcome->result != (Datum) 0)
		table_writer_set(*replies, REPLY_RESULT, outcome->result);
	if (outcome->error != (Datum) 0)
		table_writer_set(*replies, REPLY_ERROR, outcome->error);
	table_writer_set(*replies, REPLY_REPEATS, BoolGetDatum(outcome->repeats));
	table_writer_set(*replies, REPLY_FINISHED_AT, TimestampTzGetDatum(call->now));
	table_writer_set(*replies, REPLY_ENQUEUED_BY, PointerGetDatum(outcome->enqueued_by));
	table_writer_add(*replies);
	effects_replied(outcome->reply_to);
}

static void
tell_schedule(Call *call, const Outcome *outcome)
{
	static Oid types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum values[] = {
		Int64GetDatum(outcome->id),
		PointerGetDatum(outcome->cron_name),
		CStringGetTextDatum(job_state_word(outcome->state)),
		TimestampTzGetDatum(outcome->started_at),
		TimestampTzGetDatum(call->now),
		outcome->error,
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
consequences_tell(Call *call)
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
			outcome_free(outcome);
		}
	} while (change != NULL && workflow_change_step(change));
	if (change != NULL)
		workflow_change_close(change);
	if (replies != NULL)
		table_writer_close(replies);
}
