/*
 * history.c: jobs that ended (haul.finished_jobs) and attempts that failed (haul.job_errors).
 *
 * Rows are written into the leaf of the hour or the day, found by its name
 * (haul._add_history makes them).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "base/settings.h"
#include "base/table_writer.h"
#include "base/times.h"
#include "job/history.h"
#include "rows/job.h"
#include "rows/queue.h"

/* columns of haul.job_errors */
enum JobErrorColumn
{
	JOB_ERROR_JOB_ID,
	JOB_ERROR_ATTEMPT,
	JOB_ERROR_FAILED_AT,
	JOB_ERROR_WORKER_ID,
	JOB_ERROR_WORKER,
	JOB_ERROR_ERROR,
	JOB_ERROR_DETAIL,
};

static const Column job_error_list[] = {
	[JOB_ERROR_JOB_ID] = {"job_id", INT8OID},
	[JOB_ERROR_ATTEMPT] = {"attempt", INT4OID},
	[JOB_ERROR_FAILED_AT] = {"failed_at", TIMESTAMPTZOID},
	[JOB_ERROR_WORKER_ID] = {"worker_id", INT8OID},
	[JOB_ERROR_WORKER] = {"worker", TEXTOID},
	[JOB_ERROR_ERROR] = {"error", TEXTOID},
	[JOB_ERROR_DETAIL] = {"detail", JSONBOID},
	{NULL, InvalidOid},
};

/* of the leaves, in which others may have changed each for itself */
static Columns brief_columns = COLUMNS(job_column_list);
static Columns kept_columns = COLUMNS(job_column_list);
static Columns error_columns = COLUMNS(job_error_list);

struct History
{
	TimestampTz now;
	MemoryContext context;
	TableWriter *brief; /* jobs kept for the setting; each opened when first needed */
	TableWriter *kept;	/* jobs that say until when */
	TableWriter *errors;
};

History *
history_open(TimestampTz now)
{
	History *history = palloc0(sizeof(History));

	history->now = now;
	history->context = CurrentMemoryContext;
	return history;
}

/* The name that haul._add_history gives to the leaf of a time. */
static char *
leaf_name(const char *pattern, TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fraction;

	/* no time zone asked for: UTC */
	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	return psprintf(pattern, tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour);
}

static TableWriter *
open_leaf(History *history, const char *pattern, Columns *columns)
{
	char *name = leaf_name(pattern, history->now);
	Oid leaf = get_relname_relid(name, haul_catalog()->schema);
	MemoryContext caller;
	TableWriter *writer;

	if (!OidIsValid(leaf))
	{
		/* Maintenance makes leaves ahead of time; it has not run for an hour. */
		Oid type = TIMESTAMPTZOID;
		Datum now = TimestampTzGetDatum(history->now);

		haul_run_as_owner("SELECT haul._add_history($1, true)", 1, &type, &now, NULL);
		leaf = get_relname_relid(name, haul_catalog()->schema);
		if (!OidIsValid(leaf))
			elog(ERROR, "haul._add_history did not make haul.%s", name);
	}
	caller = MemoryContextSwitchTo(history->context);
	writer = table_writer_open(leaf, columns);
	MemoryContextSwitchTo(caller);
	return writer;
}

static TimestampTz
add_seconds(TimestampTz at, int seconds)
{
	return at + seconds * USECS_PER_SEC;
}

/* Until when the job stays: history->now or earlier for not at all. */
static TimestampTz
keep_until(History *history, TupleTableSlot *job, bool completed)
{
	const Queue *queue;
	const Interval *keep;

	if (!job_is_null(job, JOB_KEEP))
		keep = DatumGetIntervalP(job_value(job, JOB_KEEP));
	else
	{
		queue = queue_get(DatumGetTextPP(job_value(job, JOB_QUEUE)));
		keep = completed ? queue->keep_completed : queue->keep_failed;
		if (keep == NULL)
			return add_seconds(history->now, completed ? haul_keep_completed : haul_keep_failed);
	}
	return time_after(history->now, keep);
}

void
history_add_job(History *history, TupleTableSlot *job, JobState state, Datum result)
{
	TimestampTz until = keep_until(history, job, state == JOB_COMPLETED);
	bool brief = until <= add_seconds(history->now, haul_keep_completed);
	TableWriter **writer = brief ? &history->brief : &history->kept;

	if (until <= history->now)
		return;
	if (*writer == NULL)
		*writer = brief ? open_leaf(history, "finished_jobs_%04d%02d%02d_%02d", &brief_columns)
						: open_leaf(history, "finished_jobs_%04d%02d%02d_kept", &kept_columns);

	table_writer_begin_row(*writer);
	for (int column = 0; column < JOB_COLUMNS; column++)
		if (!job_is_null(job, column))
			table_writer_set(*writer, column, job_value(job, column));
	table_writer_set(*writer, JOB_STATE, CStringGetTextDatum(job_state_word(state)));
	table_writer_set(*writer, FINISHED_JOB_FINISHED_AT, TimestampTzGetDatum(history->now));
	if (result != (Datum) 0)
		table_writer_set(*writer, FINISHED_JOB_RESULT, result);
	if (!brief)
		table_writer_set(*writer, FINISHED_JOB_KEEP_UNTIL, TimestampTzGetDatum(until));
	table_writer_add(*writer);
}

void
history_add_error(History *history, TupleTableSlot *job, Datum worker_name, Datum error,
				  Datum detail)
{
	TableWriter *errors;

	if (history->errors == NULL)
		history->errors = open_leaf(history, "job_errors_%04d%02d%02d", &error_columns);

	errors = history->errors;
	table_writer_begin_row(errors);
	table_writer_set(errors, JOB_ERROR_JOB_ID, job_value(job, JOB_ID));
	table_writer_set(errors, JOB_ERROR_ATTEMPT, job_value(job, JOB_ATTEMPT));
	table_writer_set(errors, JOB_ERROR_FAILED_AT, TimestampTzGetDatum(history->now));
	if (!job_is_null(job, JOB_WORKER_ID))
		table_writer_set(errors, JOB_ERROR_WORKER_ID, job_value(job, JOB_WORKER_ID));
	if (worker_name != (Datum) 0)
		table_writer_set(errors, JOB_ERROR_WORKER, worker_name);
	table_writer_set(errors, JOB_ERROR_ERROR, error);
	if (detail != (Datum) 0)
		table_writer_set(errors, JOB_ERROR_DETAIL, detail);
	table_writer_add(errors);
}

void
history_close(History *history)
{
	if (history->brief != NULL)
		table_writer_close(history->brief);
	if (history->kept != NULL)
		table_writer_close(history->kept);
	if (history->errors != NULL)
		table_writer_close(history->errors);
	pfree(history);
}
