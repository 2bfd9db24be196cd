/*
 * job_store.h: haul.jobs through the table and index access methods.
 *
 * Nothing here checks privileges, nor whether a change of state is allowed: the
 * callers do. The jobs handed out are slots of the store, valid until the next
 * call of the same kind.
 */
#ifndef HAUL_JOB_STORE_H
#define HAUL_JOB_STORE_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/lockoptions.h"
#include "utils/timestamp.h"

#include "shared/lane.h"

typedef struct JobStore JobStore;

/* Opens haul.jobs for changes, with a snapshot that sees everything committed by
 * now, whatever the isolation level of the transaction. */
extern JobStore *job_store_open(void);

/* Must be called before the SQL function that opened the store returns. Later
 * commands of the same transaction see the changes. */
extern void job_store_close(JobStore *store);

/*
 * Lanes: the jobs of one queue and priority, in the order (run_at, id). These two
 * walk along jobs_ready without looking at the table, so they may name a lane
 * that has no live job any more; a NULL queue means before the first one.
 */
extern bool job_store_next_queue(JobStore *store, text *after, text **queue);
extern bool job_store_next_priority(JobStore *store, text *queue, int after, int *priority);

/* Scans the jobs of a lane from a key on, with run_at <= until, in any state. */
extern void job_store_begin_lane(JobStore *store, text *queue, int priority, LaneKey from,
								 TimestampTz until);
/* The same for the jobs with expires_at <= until, in the order (expires_at, id). */
extern void job_store_begin_expired(JobStore *store, LaneKey from, TimestampTz until);
extern TupleTableSlot *job_store_next(JobStore *store);

/*
 * The same lane by its index entries, those of dead rows, too, so that each step
 * takes a short time. *key is where the entry stands; *job is NULL when it leads to
 * no live job. False at the end.
 */
extern void job_store_begin_entries(JobStore *store, text *queue, int priority, LaneKey from,
									TimestampTz until);
extern bool job_store_next_entry(JobStore *store, LaneKey *key, TupleTableSlot **job);

extern void job_store_end_scan(JobStore *store);

/* From now on single jobs are found as they are now, changed by others since or by the call itself.
 */
extern void job_store_renew(JobStore *store);

/* The job as it is now, whoever is about to change it; NULL when there is none. */
extern TupleTableSlot *job_store_find(JobStore *store, int64 id);

typedef enum JobLock
{
	JOB_LOCKED,
	JOB_BUSY,		/* somebody else has it locked, and nobody is waited for */
	JOB_CHANGED,	/* it was changed since it was read: find it again */
	JOB_SUPPRESSED, /* of a write: somebody's trigger suppressed it */
} JobLock;

/* Locks the job, just as it was read, against changes by others. */
extern JobLock job_store_lock(JobStore *store, TupleTableSlot *job, LockWaitPolicy wait);

/* A copy of the job to change; its values point into the job. */
extern TupleTableSlot *job_store_edit(JobStore *store, TupleTableSlot *job);

/* Writes the copy. The job must be locked. False when somebody's trigger suppressed it. */
extern bool job_store_update(JobStore *store, TupleTableSlot *job);

/* Writes the copy of a job that need not be locked, as if it were locked first without waiting:
 * JOB_LOCKED when it is written. Saves the lock, and its record in the WAL, which is as long as
 * half of the update's. */
extern JobLock job_store_update_if_free(JobStore *store, TupleTableSlot *job);

/* Deletes the job, waiting for those that have it locked; false when it was changed
 * since it was read (find it again). An error when a trigger suppressed it. */
extern bool job_store_delete(JobStore *store, TupleTableSlot *job);

/* True while the store itself changes this job by the executor's road: the row
 * trigger lets that pass. */
extern bool job_store_is_writing(int64 id);

#endif
