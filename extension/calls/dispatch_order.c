/*
 * dispatch_order.c: the lanes of a worker, in the order in which it takes jobs from them.
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "calls/dispatch_order.h"
#include "rows/queue.h"
#include "shared/effects.h"
#include "shared/ready_lanes.h"

#define RESUMED_FOR USECS_PER_SEC /* since it began at the first lane */

/* Where a walk through the index is. */
typedef struct Place
{
	enum
	{
		PLACE_BEFORE, /* queues that come before those without a priority of their own */
		PLACE_AMONG,
		PLACE_BEHIND,
	} part;		  /* of all queues */
	int number;	  /* of the next queue: in the list, or in the ranking */
	text *queue;  /* NULL: none yet */
	int priority; /* of the lane visited last */
} Place;

struct DispatchOrder
{
	Call *call;
	const Worker *worker;
	bool known; /* the lanes are known to shared memory */
	ReadyLanes ready;
	Names queues;					   /* unless the worker takes all */
	int nqueues;					   /* of these begun */
	char name[VARHDRSZ + QUEUE_BYTES]; /* of the queue visited last */

	/* a walk through the index */
	const QueueRanking *ranking;
	Place place;
	Place end; /* if it was resumed: where to stop, the second time around */
	bool resumed;
	bool around;
	TimestampTz began_at;
};

/* The walk of this session that was left last. */
static struct
{
	int64 worker; /* 0: none */
	Oid database;
	TimestampTz began_at;
	Place place;
	char queue[VARHDRSZ + QUEUE_BYTES];
} left;

/* ---- the queues of a subscription ---- */

typedef struct DrawnQueue
{
	text *name;
	double key;
} DrawnQueue;

static int
compare_keys(const void *a, const void *b)
{
	double x = ((const DrawnQueue *) a)->key;
	double y = ((const DrawnQueue *) b)->key;

	return (x > y) - (x < y);
}

/*
 * The queues in random order, the heavier ones rather in front: each gets an
 * exponentially distributed key with its weight as rate, smallest first, so each
 * comes first with the probability of its share of the weights (Efraimidis and
 * Spirakis, Weighted random sampling with a reservoir, 2006).
 */
static Names
drawn_queues(const Worker *worker)
{
	Names queues = {worker->queues.count, palloc(worker->queues.count * sizeof(text *))};
	DrawnQueue *drawn = palloc(queues.count * sizeof(DrawnQueue));

	for (int i = 0; i < queues.count; i++)
	{
		drawn[i].name = worker->queues.names[i];
		drawn[i].key = -log(1 - pg_prng_double(&pg_global_prng_state)) / worker->weights[i];
	}
	qsort(drawn, queues.count, sizeof(DrawnQueue), compare_keys);
	for (int i = 0; i < queues.count; i++)
		queues.names[i] = drawn[i].name;
	return queues;
}

static bool
starts_with(const text *name, const text *prefix)
{
	return VARSIZE_ANY_EXHDR(name) > VARSIZE_ANY_EXHDR(prefix) &&
		   memcmp(VARDATA_ANY(name), VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

static bool
is_in_namespace(const Worker *worker, const text *queue)
{
	return worker->namespace == NULL || starts_with(queue, worker->namespace);
}

/* ---- known lanes ---- */

static text *
name_of(DispatchOrder *order, const LaneTag *tag)
{
	text *name = (text *) order->name;

	SET_VARSIZE(name, VARHDRSZ + tag->length);
	memcpy(VARDATA(name), tag->queue, tag->length);
	return name;
}

static bool
next_known(DispatchOrder *order)
{
	const Worker *worker = order->worker;

	if (worker->all_queues)
	{
		while (ready_lanes_next(&order->ready))
		{
			if (!names_contain(&worker->exclude, name_of(order, &order->ready.at)))
				return true;
			ready_lanes_skip_queue(&order->ready);
		}
		return false;
	}
	while (order->nqueues == 0 || !ready_lanes_next(&order->ready))
	{
		text *queue;

		if (order->nqueues == order->queues.count)
			return false;
		queue = order->queues.names[order->nqueues++];
		ready_lanes_begin_queue(&order->ready, queue);
		if (names_contain(&worker->exclude, queue))
			ready_lanes_skip_queue(&order->ready);
	}
	return true;
}

/* ---- a walk through the index ---- */

/* The next of the queues that have a priority of their own, before or behind the others. */
static bool
next_ranked(DispatchOrder *order, bool before)
{
	Place *place = &order->place;

	while (place->number < order->ranking->count)
	{
		const RankedQueue *queue = &order->ranking->queues[place->number];

		if (before && queue->priority > HAUL_DEFAULT_QUEUE_PRIORITY)
			return false;
		place->number++;
		if (!is_in_namespace(order->worker, queue->name))
			continue;
		place->queue = queue->name;
		return true;
	}
	return false;
}

/* The next of the queues that have no priority of their own. */
static bool
next_unranked(DispatchOrder *order)
{
	Place *place = &order->place;
	text *after = place->queue != NULL ? place->queue : order->worker->namespace;

	while (job_store_next_queue(order->call->store, after, &after))
	{
		if (!is_in_namespace(order->worker, after))
			return false;
		if (queue_rank(order->ranking, VARDATA_ANY(after), VARSIZE_ANY_EXHDR(after)) ==
			HAUL_DEFAULT_QUEUE_PRIORITY)
		{
			place->queue = after;
			return true;
		}
	}
	return false;
}

static bool
place_next_queue(DispatchOrder *order)
{
	Place *place = &order->place;

	if (!order->worker->all_queues)
	{
		if (place->number == order->queues.count)
			return false;
		place->queue = order->queues.names[place->number++];
		return true;
	}
	if (place->part == PLACE_BEFORE)
	{
		if (next_ranked(order, true))
			return true;
		place->part = PLACE_AMONG;
		place->queue = NULL;
	}
	if (place->part == PLACE_AMONG)
	{
		if (next_unranked(order))
			return true;
		place->part = PLACE_BEHIND;
	}
	return next_ranked(order, false);
}

/* Whether the walk, which was resumed and has come around, is where it was resumed. */
static bool
is_at_end(const DispatchOrder *order)
{
	const Place *place = &order->place;
	const Place *end = &order->end;

	if (!order->around || place->part < end->part)
		return false;
	if (place->part > end->part || place->number > end->number)
		return true;
	if (place->number < end->number)
		return false;
	if (order->worker->all_queues && place->part == PLACE_AMONG)
	{
		int length = Min(VARSIZE_ANY_EXHDR(place->queue), VARSIZE_ANY_EXHDR(end->queue));
		int difference = memcmp(VARDATA_ANY(place->queue), VARDATA_ANY(end->queue), length);

		if (difference == 0)
			difference = VARSIZE_ANY_EXHDR(place->queue) - VARSIZE_ANY_EXHDR(end->queue);
		if (difference != 0)
			return difference > 0;
	}
	return place->priority >= end->priority;
}

static void
place_begin_walk(DispatchOrder *order)
{
	memset(&order->place, 0, sizeof(Place));
	order->place.priority = PG_INT16_MAX; /* on to the first queue */
}

/* The next lane of the index. */
static bool
place_next_lane(DispatchOrder *order)
{
	Place *place = &order->place;
	const Worker *worker = order->worker;

	for (;;)
	{
		if (place->queue != NULL && place->priority < worker->max_priority &&
			job_store_next_priority(order->call->store, place->queue, place->priority,
									&place->priority) &&
			place->priority <= worker->max_priority)
			return true;
		do
			if (!place_next_queue(order))
				return false;
		while (names_contain(&worker->exclude, place->queue));
		place->priority = worker->min_priority - 1;
	}
}

static bool
next_walked(DispatchOrder *order, LaneTag *tag)
{
	for (;;)
	{
		while (place_next_lane(order))
		{
			if (is_at_end(order))
				return false;
			lane_tag(tag, order->place.queue, order->place.priority);
			if (ready_lanes_contain(tag, order->ready.filters, order->ready.until))
				return true;
		}
		if (!order->resumed || order->around)
			return false;
		order->around = true;
		order->began_at = order->call->now;
		place_begin_walk(order);
	}
}

/* Goes on where the session left its last walk, if that is worth it. */
static void
resume(DispatchOrder *order)
{
	if (left.worker != order->worker->id || left.database != MyDatabaseId ||
		left.began_at > order->call->now || left.began_at < order->call->now - RESUMED_FOR)
		return;
	order->resumed = true;
	order->began_at = left.began_at;
	order->place = left.place;
	order->place.queue = (text *) left.queue;
	order->end = order->place;
	order->place.priority--; /* there may be more in the lane */
}

void
dispatch_order_leave(DispatchOrder *order)
{
	text *queue = order->place.queue;

	if (order->known || order->worker->weights != NULL || queue == NULL ||
		VARSIZE_ANY_EXHDR(queue) > QUEUE_BYTES)
		return;
	left.worker = order->worker->id;
	left.database = MyDatabaseId;
	left.began_at = order->began_at;
	left.place = order->place;
	if (queue != (text *) left.queue)
	{
		SET_VARSIZE(left.queue, VARHDRSZ + VARSIZE_ANY_EXHDR(queue));
		memcpy(VARDATA(left.queue), VARDATA_ANY(queue), VARSIZE_ANY_EXHDR(queue));
	}
}

/* ---- both ---- */

DispatchOrder *
dispatch_order_begin(Call *call, const Worker *worker, TimestampTz due)
{
	DispatchOrder *order = palloc0(sizeof(DispatchOrder));

	order->call = call;
	order->worker = worker;
	order->began_at = call->now;
	order->ready.min_priority = worker->min_priority;
	order->ready.max_priority = worker->max_priority;
	order->ready.prefix = worker->namespace;
	order->ready.filters[0] = worker->kinds_filter;
	order->ready.filters[1] = worker->name_filter;
	order->ready.until = due;
	effects_show_own();
	order->known = ready_lanes_are_known();
	if (!worker->all_queues)
		order->queues = worker->weights != NULL ? drawn_queues(worker) : worker->queues;
	if (order->known)
	{
		if (worker->all_queues)
			ready_lanes_begin(&order->ready);
		return order;
	}
	if (worker->all_queues)
		order->ranking = queue_ranking();
	place_begin_walk(order);
	resume(order);
	left.worker = 0;
	return order;
}

bool
dispatch_order_next(DispatchOrder *order, LaneTag *tag, text **queue)
{
	if (!(order->known ? next_known(order) : next_walked(order, tag)))
		return false;
	if (order->known)
		*tag = order->ready.at;
	*queue = name_of(order, tag);
	return true;
}

void
dispatch_order_narrow(DispatchOrder *order, TimestampTz due)
{
	order->ready.until = due;
}
