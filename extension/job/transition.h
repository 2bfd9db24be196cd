/*
 * transition.h: the changes of a job's state, each with its count and its record.
 *
 *   waiting ──release──► ready ──claim──► running ──complete, end──► haul.finished_jobs
 *                          ▲                 │
 *                          └─requeue, repeat─┘     ready ──expire──► haul.finished_jobs
 *                                         ready, waiting ──drop────► haul.finished_jobs
 *
 * The end of a run of a periodic job (every) that completes or is discarded repeats it: the run
 * goes to haul.finished_jobs, and the job is ready again.
 *
 * Those that take a locked job need its row locked by job_store_lock(). Where a
 * function returns false, nothing was done.
 */
#ifndef HAUL_TRANSITION_H
#define HAUL_TRANSITION_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "job/call_data.h"
#include "rows/job.h"

/* Hands a ready job, which need not be locked, to a worker, if that is possible without waiting:
 * JOB_LOCKED then; *claimed is the new version of the job. */
extern JobLock transition_claim(Call *call, TupleTableSlot *job, int64 worker, int64 lease,
								bool confirm_start, TupleTableSlot **claimed);

/* Ends a running job as completed, or repeats it; result may be 0. Needs no lock: false when the
 * job was changed since it was read (find it again). */
extern bool transition_complete(Call *call, TupleTableSlot *job, Datum result);

/* Ends a ready job, whose claim by the worker was lost in a crash, as completed. The same. */
extern bool transition_complete_unclaimed(Call *call, TupleTableSlot *job, int64 worker,
										  int32 claim, Datum result);

/* Ends a locked running job without success: state is failed, discarded or cancelled. A periodic
 * job that is discarded is repeated. */
extern void transition_end(Call *call, TupleTableSlot *job, JobState state, Counter counter,
						   Datum reason);

/* Discards a locked ready job that was not started within its queue timeout. */
extern void transition_expire(Call *call, TupleTableSlot *job);

/* Ends a locked job that is ready or waiting: state is failed, discarded or cancelled. */
extern void transition_drop(Call *call, TupleTableSlot *job, JobState state, Datum reason);

/* Makes a locked waiting job ready, to be run now or at run_at, whichever is later. */
extern void transition_release(Call *call, TupleTableSlot *job, TimestampTz run_at);

/* A job is ready: whoever it concerns learns of it when the transaction commits. */
extern void transition_made_ready(TupleTableSlot *job);

/* How a running job goes back to ready. */
typedef struct Requeue
{
	Counter counter;
	bool charge;		/* the attempt counts */
	bool interrupted;	/* it ended with its worker */
	bool was_started;	/* although it does not count, it was started in time */
	TimestampTz run_at; /* 0: as it was, so that the job keeps its place */
	text *queue;		/* NULL: as it was */
	Datum error;		/* 0: last_error stays */
} Requeue;

/* Puts a locked running job back to ready; false when it ends as cancelled instead, with the
 * workflow that it belongs to. */
extern bool transition_requeue(Call *call, TupleTableSlot *job, const Requeue *how);

/* Hands a locked ready job back to the worker that it was handed to last, under the same claim. */
extern void transition_resume(Call *call, TupleTableSlot *job, int64 worker, int64 lease,
							  TimestampTz started_at);

/* Charges a locked job, whatever became of it meanwhile, with an interruption that was not known
 * when it happened. It ends nothing: such jobs are not given to others. */
extern void transition_charge(Call *call, TupleTableSlot *job, TimestampTz interrupted_at);

/*
 * Takes a locked running job from a worker that did not end it: by on_interrupt it
 * is ready again or ends. Not charged when it was only fetched (started_at is
 * NULL). With worker_died, the job ends when it was there haul.max_interruptions times.
 */
extern void transition_interrupt(Call *call, TupleTableSlot *job, bool worker_died);

#endif
