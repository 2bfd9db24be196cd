/*
 * effects.h: what the current transaction does to shared memory when it ends, and whom it wakes.
 *
 * Noted on the way, applied by callbacks at the end of the transaction, when others can see its
 * rows. What a rolled back (sub)transaction noted is forgotten, but for the jobs it had claimed,
 * which may be claimed again. Without preloading there is nothing but one NOTIFY per queue, just
 * before the commit.
 */
#ifndef HAUL_EFFECTS_H
#define HAUL_EFFECTS_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "rows/audience.h"
#include "shared/lane.h"

/* The transaction makes a job ready, as it is in this row. enqueued: somebody from outside, for
 * whom there are limits: raises 53400 when there are too many lanes already. */
extern void effects_job_ready(TupleTableSlot *job, bool enqueued);

/* It enqueues one that waits, for which there are the same limits. */
extern void effects_job_waits(const text *queue, int priority);

/* Lowers floors to what the transaction has made ready so far, which it sees itself; they may rise
 * again before it ends, and are lowered once more. */
extern void effects_show_own(void);

/* It sets when a job expires. */
extern void effects_job_expires(TimestampTz expires_at, int64 id);

/* It claims jobs of the lane. */
extern void effects_claimed(const LaneTag *tag, int64 jobs);

/* It has scanned the lane; floors may rise when it commits. */
extern void effects_scanned(const LaneScan *scan);

/* It ends a job, or a run of one. */
extern void effects_job_ended(void);

/* There is a reply in the mailbox: NOTIFY on the channel haul_reply. */
extern void effects_replied(const text *mailbox);

/* It deletes the row of a worker. */
extern void effects_worker_gone(int64 worker);

#endif
