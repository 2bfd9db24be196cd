/*
 * worker.h: rows of haul.workers and what they subscribe to.
 */
#ifndef HAUL_WORKER_H
#define HAUL_WORKER_H

#include "postgres.h"

#include "access/htup.h"
#include "storage/lock.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "base/names.h"

/* How a worker wants to hear of work. */
typedef enum WorkerWake
{
	WAKE_QUEUE,	 /* by NOTIFY on the channel "haul", with the name of the queue */
	WAKE_WORKER, /* by NOTIFY on a channel of its own; its session is its own, too */
	WAKE_NONE,	 /* not at all */
} WorkerWake;

typedef struct Worker
{
	int64 id;
	text *name;
	bool all_queues;
	Names queues;	 /* in the order given, unless all_queues */
	double *weights; /* of the queues; NULL when their order is strict */
	Names exclude;
	bool all_kinds;
	Names kinds; /* unless all_kinds; sorted by name_order() */
	int min_priority;
	int max_priority;
	text *namespace; /* "name." or NULL */
	bool confirm_start;
	WorkerWake wake;
	uint64 kinds_filter;		/* equal for workers of the same kinds; 0: all kinds */
	uint64 name_filter;			/* equal for workers of the same kinds and name */
	uint64 subscription_filter; /* equal for workers that take the same, whatever their names */
	TimestampTz started_at;		/* when it registered */
	bool is_lost;				/* given up, and not come back yet */
	Oid owner;					/* the role that registered it */
} Worker;

/* The id in a row of haul.workers. */
extern int64 worker_id_of(HeapTuple row, Relation workers);

/* The worker as registered; NULL when it has no row. */
extern Worker *worker_find(int64 id);

/* Raises 42501 unless the current role is that of the worker, a member of it, or may delete its
 * row. */
extern void worker_refuse_others(const Worker *worker);

/* The worker, for a call of its own: raises HQ003 when it has no row, 42501 when it is another
 * role's. */
extern Worker *worker_get(int64 id);

/*
 * Held to the end of the transaction: shared by those who hand jobs to the worker,
 * exclusive by those who take them all back. So no checkout slips in between the
 * look at the worker's leases and the end of its row. False when not available at
 * once and no wait is wanted.
 */
extern bool worker_lock(int64 id, LOCKMODE mode, bool wait);

#endif
