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
	int priority;
	Interval *keep_completed; /* NULL: the setting */
	Interval *keep_failed;	  /* NULL: the setting */
} Queue;

/* The settings of a queue, or the defaults if it has none. Valid until the next call. */
extern const Queue *queue_get(text *name);

/* Forgets what was read: every call of the queue reads settings afresh. */
extern void queue_forget(void);

#endif
