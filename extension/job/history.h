/*
 * history.h: jobs that ended (haul.finished_jobs) and attempts that failed (haul.job_errors).
 */
#ifndef HAUL_HISTORY_H
#define HAUL_HISTORY_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "rows/job.h"

typedef struct History History;

extern History *history_open(TimestampTz now);

/*
 * Keeps a job that ended, as long as the job, its queue or the settings say; not at
 * all if they say 0. The job's own columns must be as they are to stay; state is
 * one that jobs end as; result may be 0 for none.
 */
extern void history_add_job(History *history, TupleTableSlot *job, JobState state, Datum result);

/* Keeps a failed attempt of a job. worker_name and detail may be 0 for none. */
extern void history_add_error(History *history, TupleTableSlot *job, Datum worker_name, Datum error,
							  Datum detail);

extern void history_close(History *history);

#endif
