/*
 * job.h: the columns of haul.jobs, and of haul.finished_jobs, which has the same and more.
 *
 * A job is at hand as the tuple slot of its row, all columns fetched.
 */
#ifndef HAUL_JOB_H
#define HAUL_JOB_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "base/columns.h"

enum JobColumn
{
	JOB_ID,
	JOB_QUEUE,
	JOB_KIND,
	JOB_ARGS,
	JOB_PRIORITY,
	JOB_RUN_AT,
	JOB_MAX_ATTEMPTS,
	JOB_BACKOFF,
	JOB_TIMEOUT,
	JOB_ON_TIMEOUT,
	JOB_QUEUE_TIMEOUT,
	JOB_EXPIRES_AT,
	JOB_ON_INTERRUPT,
	JOB_UNIQUE_KEY,
	JOB_UNIQUE_UNTIL,
	JOB_CONCURRENCY_KEY,
	JOB_CONCURRENCY_LIMIT,
	JOB_PIN,
	JOB_PIN_STRICT,
	JOB_AVOID,
	JOB_EVERY,
	JOB_REPLY_TO,
	JOB_KEEP,
	JOB_WORKFLOW_ID,
	JOB_CRON_NAME,
	JOB_INTERRUPTIONS,
	JOB_ENQUEUED_BY,
	JOB_ENQUEUED_AT,
	JOB_STATE,
	JOB_ATTEMPT,
	JOB_CLAIM,
	JOB_WORKER_ID,
	JOB_LEASE_ID,
	JOB_STARTED_AT,
	JOB_INTERRUPTED_AT,
	JOB_LAST_ERROR,
	JOB_PROGRESS,
	JOB_COLUMNS, /* how many of haul.jobs are ours */

	FINISHED_JOB_FINISHED_AT = JOB_COLUMNS,
	FINISHED_JOB_RESULT,
	FINISHED_JOB_KEEP_UNTIL,
};

/* What a job in haul.jobs is in, and what one ends as. */
typedef enum JobState
{
	JOB_READY,
	JOB_RUNNING,
	JOB_WAITING,

	JOB_COMPLETED,
	JOB_FAILED,
	JOB_DISCARDED,
	JOB_CANCELLED,
} JobState;

/* As it stands in the column. */
static inline const char *
job_state_word(JobState state)
{
	switch (state)
	{
		case JOB_READY:
			return "ready";
		case JOB_RUNNING:
			return "running";
		case JOB_WAITING:
			return "waiting";
		case JOB_COMPLETED:
			return "completed";
		case JOB_FAILED:
			return "failed";
		case JOB_DISCARDED:
			return "discarded";
		case JOB_CANCELLED:
			return "cancelled";
	}
	pg_unreachable();
}

/* run_at of a waiting job that something else makes ready: behind all others in its lane. */
#define JOB_PARKED DT_NOEND
#define JOB_LAST_RUN_AT (JOB_PARKED - 1)

extern const Column
	job_column_list[];		/* of haul.finished_jobs; haul.jobs has those up to JOB_COLUMNS */
extern Columns job_columns; /* of haul.jobs; whoever opens it finds them */

#define job_value(job, column) ((job)->tts_values[job_columns.places[column]])
#define job_is_null(job, column) ((job)->tts_isnull[job_columns.places[column]])

static inline int64
job_id(TupleTableSlot *job)
{
	return DatumGetInt64(job_value(job, JOB_ID));
}

static inline int32
job_attempt(TupleTableSlot *job)
{
	return DatumGetInt32(job_value(job, JOB_ATTEMPT));
}

static inline int32
job_claim(TupleTableSlot *job)
{
	return DatumGetInt32(job_value(job, JOB_CLAIM));
}

static inline TimestampTz
job_run_at(TupleTableSlot *job)
{
	return DatumGetTimestampTz(job_value(job, JOB_RUN_AT));
}

/* Whether a text column, of a short value never stored out of line, is this. */
static inline bool
job_says(TupleTableSlot *job, enum JobColumn column, const char *word)
{
	struct varlena *text = (struct varlena *) DatumGetPointer(job_value(job, column));
	size_t length = strlen(word);

	return !job_is_null(job, column) && VARSIZE_ANY_EXHDR(text) == length &&
		   memcmp(VARDATA_ANY(text), word, length) == 0;
}

static inline bool
job_is(TupleTableSlot *job, JobState state)
{
	return job_says(job, JOB_STATE, job_state_word(state));
}

/* Whether the job is running at the worker. */
static inline bool
job_is_held(TupleTableSlot *job, int64 worker)
{
	return job_is(job, JOB_RUNNING) && !job_is_null(job, JOB_WORKER_ID) &&
		   DatumGetInt64(job_value(job, JOB_WORKER_ID)) == worker;
}

/* Whether it should have been started by now. */
static inline bool
job_is_expired(TupleTableSlot *job, TimestampTz now)
{
	return !job_is_null(job, JOB_EXPIRES_AT) &&
		   DatumGetTimestampTz(job_value(job, JOB_EXPIRES_AT)) <= now;
}

/* No less than the length as text of the parts that have no small limit. */
extern Size job_longest(TupleTableSlot *job);

/* Whether it is short enough to be sent to a worker. One that is not came in by ways that fire no
 * triggers, or from a dump. */
extern bool job_is_deliverable(TupleTableSlot *job);

static inline void
job_set(TupleTableSlot *job, enum JobColumn column, Datum value)
{
	job_value(job, column) = value;
	job_is_null(job, column) = false;
}

static inline void
job_clear(TupleTableSlot *job, enum JobColumn column)
{
	job_value(job, column) = (Datum) 0;
	job_is_null(job, column) = true;
}

extern JobState job_state(TupleTableSlot *job);

/* In the current memory context. */
extern void job_set_state(TupleTableSlot *job, JobState state);

#endif
