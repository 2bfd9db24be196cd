/*
 * job.c: what can be said of a job by its row alone.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/json_size.h"
#include "rows/job.h"

const Column job_column_list[] = {
	[JOB_ID] = {"id", INT8OID},
	[JOB_QUEUE] = {"queue", TEXTOID},
	[JOB_KIND] = {"kind", TEXTOID},
	[JOB_ARGS] = {"args", JSONBOID},
	[JOB_PRIORITY] = {"priority", INT2OID},
	[JOB_RUN_AT] = {"run_at", TIMESTAMPTZOID},
	[JOB_MAX_ATTEMPTS] = {"max_attempts", INT4OID},
	[JOB_BACKOFF] = {"backoff", TEXTOID},
	[JOB_TIMEOUT] = {"timeout", INTERVALOID},
	[JOB_ON_TIMEOUT] = {"on_timeout", TEXTOID},
	[JOB_QUEUE_TIMEOUT] = {"queue_timeout", INTERVALOID},
	[JOB_EXPIRES_AT] = {"expires_at", TIMESTAMPTZOID},
	[JOB_ON_INTERRUPT] = {"on_interrupt", TEXTOID},
	[JOB_UNIQUE_KEY] = {"unique_key", TEXTOID},
	[JOB_UNIQUE_UNTIL] = {"unique_until", TEXTOID},
	[JOB_CONCURRENCY_KEY] = {"concurrency_key", TEXTOID},
	[JOB_CONCURRENCY_LIMIT] = {"concurrency_limit", INT4OID},
	[JOB_PIN] = {"pin", TEXTOID},
	[JOB_PIN_STRICT] = {"pin_strict", BOOLOID},
	[JOB_AVOID] = {"avoid", TEXTARRAYOID},
	[JOB_EVERY] = {"every", INTERVALOID},
	[JOB_REPLY_TO] = {"reply_to", TEXTOID},
	[JOB_KEEP] = {"keep", INTERVALOID},
	[JOB_WORKFLOW_ID] = {"workflow_id", INT8OID},
	[JOB_CRON_NAME] = {"cron_name", TEXTOID},
	[JOB_ENQUEUED_AT] = {"enqueued_at", TIMESTAMPTZOID},
	[JOB_ENQUEUED_BY] = {"enqueued_by", TEXTOID},
	[JOB_STATE] = {"state", TEXTOID},
	[JOB_ATTEMPT] = {"attempt", INT4OID},
	[JOB_CLAIM] = {"claim", INT4OID},
	[JOB_INTERRUPTIONS] = {"interruptions", INT2OID},
	[JOB_WORKER_ID] = {"worker_id", INT8OID},
	[JOB_LEASE_ID] = {"lease_id", INT8OID},
	[JOB_STARTED_AT] = {"started_at", TIMESTAMPTZOID},
	[JOB_INTERRUPTED_AT] = {"interrupted_at", TIMESTAMPTZOID},
	[JOB_LAST_ERROR] = {"last_error", TEXTOID},
	[JOB_PROGRESS] = {"progress", JSONBOID},
	[FINISHED_JOB_FINISHED_AT] = {"finished_at", TIMESTAMPTZOID},
	[FINISHED_JOB_RESULT] = {"result", JSONBOID},
	[FINISHED_JOB_KEEP_UNTIL] = {"keep_until", TIMESTAMPTZOID},
	{NULL, InvalidOid},
};

Columns job_columns = COLUMNS_UP_TO(job_column_list, JOB_COLUMNS);

JobState
job_state(TupleTableSlot *job)
{
	for (JobState state = JOB_READY; state <= JOB_CANCELLED; state++)
		if (job_is(job, state))
			return state;
	elog(ERROR, "job " INT64_FORMAT " has an invalid state", job_id(job));
}

void
job_set_state(TupleTableSlot *job, JobState state)
{
	job_set(job, JOB_STATE, CStringGetTextDatum(job_state_word(state)));
}

/* so short that it can be no longer than 400 MB as text: two of them fit into a message */
#define SMALL_JSON (32 * 1024)

static Size
size_of(TupleTableSlot *job, enum JobColumn column)
{
	return job_is_null(job, column) ? 0 : toast_raw_datum_size(job_value(job, column));
}

static Size
longest(TupleTableSlot *job, enum JobColumn column)
{
	return job_is_null(job, column) ? 0 : json_longest(job_value(job, column));
}

Size
job_longest(TupleTableSlot *job)
{
	return longest(job, JOB_ARGS) + longest(job, JOB_PROGRESS) + 6 * size_of(job, JOB_LAST_ERROR);
}

static bool
fits(TupleTableSlot *job, enum JobColumn column)
{
	return size_of(job, column) <= SMALL_JSON || json_fits(job_value(job, column), LONGEST_VALUE);
}

bool
job_is_deliverable(TupleTableSlot *job)
{
	return fits(job, JOB_ARGS) && fits(job, JOB_PROGRESS) &&
		   size_of(job, JOB_LAST_ERROR) <=
			   LONGEST_VALUE + 100; /* with the remark that it was cut */
}
