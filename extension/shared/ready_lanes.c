/*
 * ready_lanes.c: the lanes in which there is something to claim, in dispatch order.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "rows/queue.h"
#include "shared/database.h"
#include "shared/lane_table.h"
#include "shared/ready_lanes.h"

#define STEPS_UNDER_LOCK 64

static void
lock_shared(void)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	LWLockAcquire(haul_lock(HAUL_LOCK_READY), LW_SHARED);
}

static void
unlock_shared(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_READY));
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

static LaneSet *
my_set(void)
{
	return lane_set(MyDatabaseId, haul_catalog()->jobs);
}

bool
ready_lanes_are_known(void)
{
	LaneSet *set;
	bool known = false;

	if (!haul_is_preloaded() || !database_is_served())
		return false;
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	set = my_set();
	if (set != NULL)
		known = pg_atomic_read_u64(&set->missed) == set->surveyed;
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return known;
}

/* ---- the order of queues ---- */

static void
rank(LaneQueue *queue, const QueueRanking *ranking)
{
	QueuePlace place;
	int rank = queue_rank(ranking, queue->tag.queue, queue->tag.length);

	if (queue->is_unranked)
		dlist_delete(&queue->unranked);
	queue->is_unranked = false;
	if (rank == queue->rank)
		return;
	min_tree_remove(&queue->set->queues, &queue->node);
	queue->rank = rank;
	place = queue_place(queue);
	min_tree_insert(&queue->set->queues, &queue->node, &place, lane_queue_order);
}

static void
rank_all(LaneSet *set, const QueueRanking *ranking)
{
	dlist_iter iter;

	dlist_foreach(iter, &set->sweeps)
		rank(dlist_container(Lane, sweep_node, iter.cur)->queue, ranking);
	set->ranking = ranking->hash;
}

/* Sees to it that the queues stand in the order of haul.queues, as of now. */
static void
put_in_order(void)
{
	const QueueRanking *ranking = queue_ranking();
	LaneSet *set;
	bool in_order;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	set = my_set();
	in_order = set == NULL || (set->ranking == ranking->hash && dlist_is_empty(&set->unranked));
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	if (in_order)
		return;
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	set = my_set();
	if (set != NULL && set->ranking != ranking->hash)
		rank_all(set, ranking);
	else if (set != NULL)
		while (!dlist_is_empty(&set->unranked))
			rank(dlist_head_element(LaneQueue, unranked, &set->unranked), ranking);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

/* ---- searching ---- */

void
ready_lanes_begin(ReadyLanes *search)
{
	put_in_order();
	memset(&search->at, 0, sizeof(LaneTag));
	search->at.database = MyDatabaseId;
	search->at.jobs = haul_catalog()->jobs;
	search->one_queue = false;
	search->rank = -1;
	search->passed = 0;
}

void
ready_lanes_begin_queue(ReadyLanes *search, const text *queue)
{
	lane_tag(&search->at, queue, search->min_priority - 1);
	search->one_queue = true;
	search->passed = 0;
}

void
ready_lanes_skip_queue(ReadyLanes *search)
{
	search->at.priority = PG_INT16_MAX;
}

static bool
has_prefix(const LaneQueue *queue, const text *prefix)
{
	int length = VARSIZE_ANY_EXHDR(prefix);

	return queue->tag.length > length && memcmp(queue->tag.queue, VARDATA_ANY(prefix), length) == 0;
}

/* The next queue behind the one where the search is; NULL when there is none. */
static LaneQueue *
next_queue(const LaneSet *set, const ReadyLanes *search)
{
	QueuePlace key = {search->rank, search->at.queue, search->at.length};

	for (;;)
	{
		LaneQueue *queue =
			queue_of(min_tree_next(set->queues, &key, lane_queue_order, search->until));

		if (queue == NULL || search->prefix == NULL || has_prefix(queue, search->prefix))
			return queue;
		/* to where its names begin: among the queues of this priority, or the next one */
		key.rank = queue->rank;
		key.name = VARDATA_ANY(search->prefix);
		key.length = VARSIZE_ANY_EXHDR(search->prefix);
		if (lane_queue_order(&key, &queue->node) < 0)
			key.rank++;
	}
}

/* The next lane of the queue behind that priority; NULL when there is none. */
static Lane *
next_lane(LaneQueue *queue, int after, const ReadyLanes *search)
{
	Lane *lane = lane_of(min_tree_next(queue->lanes, &after, lane_order, search->until));

	return lane != NULL && lane->priority <= search->max_priority ? lane : NULL;
}

/* Goes on by a number of lanes and queues; false when that was not enough. */
static bool
go_on(ReadyLanes *search, const LaneSet *set, bool *found)
{
	LaneQueue *queue = lane_queue(&search->at);
	int after = Max(search->at.priority, search->min_priority - 1);

	*found = false;
	for (int step = 0; step < STEPS_UNDER_LOCK; step++)
	{
		Lane *lane = queue == NULL ? NULL : next_lane(queue, after, search);

		if (lane != NULL)
		{
			search->at.priority = after = lane->priority;
			*found =
				floor_for(lane, search->filters, lengthof(search->filters)).run_at <= search->until;
			if (*found)
				return true;
			search->passed++;
			continue;
		}
		if (search->one_queue || (queue = next_queue(set, search)) == NULL)
			return true;
		search->rank = queue->rank;
		search->at = queue->tag;
		after = search->min_priority - 1;
	}
	return false;
}

bool
ready_lanes_next(ReadyLanes *search)
{
	bool found = false;
	bool done;

	do
	{
		LaneSet *set;

		lock_shared();
		set = my_set();
		done = set == NULL || go_on(search, set, &found);
		unlock_shared();
		CHECK_FOR_INTERRUPTS();
	} while (!done);
	return found;
}

TimestampTz
ready_lanes_earliest(void)
{
	LaneSet *set;
	TimestampTz earliest = DT_NOEND;

	lock_shared();
	set = my_set();
	if (set != NULL)
		earliest = min_tree_least(set->queues);
	unlock_shared();
	return earliest;
}

bool
ready_lanes_contain(const LaneTag *tag, const uint64 *filters, TimestampTz until)
{
	Lane *lane;
	bool contain;

	if (!haul_is_preloaded() || !database_is_served())
		return true;
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	contain = lane == NULL || floor_for(lane, filters, 2).run_at <= until;
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return contain;
}
