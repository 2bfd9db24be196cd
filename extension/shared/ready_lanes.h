/*
 * ready_lanes.h: the lanes in which there is something to claim, in dispatch order.
 *
 * What shared memory knows of them costs a checkout nothing but the lanes that it comes by, however
 * many others there are. It knows all lanes of a database that is served, once a survey has found
 * them and unless there are more than haul.max_lanes.
 */
#ifndef HAUL_READY_LANES_H
#define HAUL_READY_LANES_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "shared/lane.h"

/* Whether all lanes of the current database are known. */
extern bool ready_lanes_are_known(void);

/* A search through them. */
typedef struct ReadyLanes
{
	int min_priority;
	int max_priority;
	const text *prefix; /* of the names of queues; NULL: any */
	uint64 filters[2];	/* of the worker: kinds, name */
	TimestampTz until;	/* there may be something to claim by then; may change on the way */
	bool one_queue;
	int rank;	  /* of the queue of the lane found last, or -1 */
	LaneTag at;	  /* the lane found last */
	int64 passed; /* lanes that were looked at and left out */
} ReadyLanes;

/* Begins with all queues: by their priorities, then their names. */
extern void ready_lanes_begin(ReadyLanes *search);
/* Begins with one queue. */
extern void ready_lanes_begin_queue(ReadyLanes *search, const text *queue);

/* The next lane; false when there is none. Neither misses a lane that has been ready all along. */
extern bool ready_lanes_next(ReadyLanes *search);

/* Leaves out what is left of the queue of the lane found last. */
extern void ready_lanes_skip_queue(ReadyLanes *search);

/* No lane has anything to claim before; DT_NOEND when none has anything at all. */
extern TimestampTz ready_lanes_earliest(void);

/* Whether there may be something to claim in the lane, as far as is known. */
extern bool ready_lanes_contain(const LaneTag *tag, const uint64 *filters, TimestampTz until);

#endif
