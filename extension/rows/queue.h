/*
 * queue.h: settings of queues (haul.queues).
 */
#ifndef HAUL_QUEUE_H
#define HAUL_QUEUE_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef struct Queue
{
	text *name;
	Interval *keep_completed; /* NULL: the setting */
	Interval *keep_failed;	  /* NULL: the setting */
} Queue;

/* The settings of a queue, or the defaults if it has none. Valid until the next call. */
extern const Queue *queue_get(text *name);

/* Forgets what was read: every call of the queue reads settings afresh. */
extern void queue_forget(void);

#define HAUL_DEFAULT_QUEUE_PRIORITY 16383

typedef struct RankedQueue
{
	text *name;
	int priority;
} RankedQueue;

/* The queues that have a priority other than the default one. */
typedef struct QueueRanking
{
	uint64 hash; /* equal for equal rankings; 0: there are none */
	int count;
	RankedQueue *queues;   /* by priority, then name */
	RankedQueue **by_name; /* by bytes */
} QueueRanking;

/* As of now; read once, and again when haul.queues changes. Valid until the next call. */
extern const QueueRanking *queue_ranking(void);

/* The priority of a queue. */
extern int queue_rank(const QueueRanking *ranking, const char *name, int length);

#endif
