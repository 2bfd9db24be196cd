/*
 * lane_agenda.c: what the background worker has to see to in the lanes: jobs that fall due, work
 * for which nobody was called, sweeps.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "shared/lane_table.h"

/* The lists and heaps of all sets, exclusively. */
static void
lock_agenda(void)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	LWLockAcquire(haul_lock(HAUL_LOCK_READY), LW_EXCLUSIVE);
}

static void
unlock_agenda(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_READY));
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

/* The next set of the database, which has more than one while an extension is replaced. */
static LaneSet *
next_set(Oid database, int *place)
{
	while (*place < MAX_DATABASES)
	{
		LaneSet *set = &lanes->sets[(*place)++];

		if (set->database == database)
			return set;
	}
	return NULL;
}

/* ---- jobs that fall due later ---- */

static void
set_due(Lane *lane, TimestampTz due)
{
	pairingheap *dues = &lane->queue->set->dues;

	if (!TIMESTAMP_IS_NOEND(lane->due))
		pairingheap_remove(dues, &lane->due_node);
	SpinLockAcquire(&lane->mutex);
	lane->due = due;
	SpinLockRelease(&lane->mutex);
	if (!TIMESTAMP_IS_NOEND(due))
		pairingheap_add(dues, &lane->due_node);
}

LaneDue
lane_due_at(const LaneTag *tag, TimestampTz due)
{
	LaneDue result = LANE_DUE_LOST;
	Lane *lane;
	bool sooner = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
	{
		result = LANE_DUE_LATER;
		SpinLockAcquire(&lane->mutex);
		sooner = due < lane->due;
		SpinLockRelease(&lane->mutex);
	}
	if (sooner)
	{
		LWLockAcquire(haul_lock(HAUL_LOCK_READY), LW_EXCLUSIVE);
		if (due < lane->due)
		{
			set_due(lane, due);
			if (pairingheap_first(&lane->queue->set->dues) == &lane->due_node)
				result = LANE_DUE_SOONEST;
		}
		LWLockRelease(haul_lock(HAUL_LOCK_READY));
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return result;
}

/* The lane of the set with the soonest due time; NULL when none has one. */
static Lane *
soonest(const LaneSet *set)
{
	if (pairingheap_is_empty(&set->dues))
		return NULL;
	return pairingheap_container(Lane, due_node, pairingheap_first((pairingheap *) &set->dues));
}

bool
lane_take_due(Oid database, TimestampTz now, LaneTag *tag)
{
	LaneSet *set;
	int place = 0;
	bool taken = false;

	lock_agenda();
	while (!taken && (set = next_set(database, &place)) != NULL)
	{
		Lane *lane = soonest(set);

		taken = lane != NULL && lane->due <= now;
		if (taken)
		{
			lane_make_tag(lane, tag);
			set_due(lane, DT_NOEND);
		}
	}
	unlock_agenda();
	return taken;
}

void
lane_forget_due(const LaneTag *tag)
{
	Lane *lane;

	lock_agenda();
	lane = lane_find(tag);
	if (lane != NULL)
		set_due(lane, DT_NOEND);
	unlock_agenda();
}

TimestampTz
lane_next_due(Oid database)
{
	TimestampTz next = DT_NOEND;
	LaneSet *set;
	int place = 0;

	lock_agenda();
	while ((set = next_set(database, &place)) != NULL)
	{
		Lane *lane = soonest(set);

		if (lane != NULL)
			next = Min(next, lane->due);
	}
	unlock_agenda();
	return next;
}

/* ---- work for which nobody was called ---- */

bool
lane_is_unheard(const LaneTag *tag)
{
	Lane *lane;
	bool first = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL && (!lane->unheard || lane->being_told))
	{
		LWLockAcquire(haul_lock(HAUL_LOCK_READY), LW_EXCLUSIVE);
		first = !lane->unheard || lane->being_told;
		if (!lane->unheard)
			dlist_push_head(&lane->queue->set->unheard, &lane->unheard_node);
		lane->unheard = true;
		lane->being_told = false;
		LWLockRelease(haul_lock(HAUL_LOCK_READY));
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return first;
}

bool
lane_take_unheard(Oid database, LaneTag *tag)
{
	LaneSet *set;
	int place = 0;
	bool taken = false;

	lock_agenda();
	while (!taken && (set = next_set(database, &place)) != NULL)
		if (!dlist_is_empty(&set->unheard))
		{
			Lane *lane = dlist_head_element(Lane, unheard_node, &set->unheard);

			taken = !lane->being_told;
			if (!taken)
				continue;
			lane->being_told = true;
			dlist_delete(&lane->unheard_node);
			dlist_push_tail(&set->unheard, &lane->unheard_node);
			lane_make_tag(lane, tag);
		}
	unlock_agenda();
	return taken;
}

void
lane_told(Oid database, bool done)
{
	LaneSet *set;
	int place = 0;

	lock_agenda();
	while ((set = next_set(database, &place)) != NULL)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, &set->unheard)
		{
			Lane *lane = dlist_container(Lane, unheard_node, iter.cur);

			if (done && lane->being_told)
			{
				lane->unheard = false;
				dlist_delete(&lane->unheard_node);
			}
			lane->being_told = false;
		}
	}
	unlock_agenda();
}

/* ---- sweeps ---- */

bool
lane_take_sweep(Oid database, TimestampTz before, TimestampTz now, LaneTag *tag)
{
	LaneSet *set;
	int place = 0;
	bool taken = false;

	lock_agenda();
	while (!taken && (set = next_set(database, &place)) != NULL)
		if (!dlist_is_empty(&set->sweeps))
		{
			Lane *lane = dlist_head_element(Lane, sweep_node, &set->sweeps);

			if (lane->swept_at >= before)
				continue;
			lane->swept_at = now;
			dlist_delete(&lane->sweep_node);
			dlist_push_tail(&set->sweeps, &lane->sweep_node);
			lane_make_tag(lane, tag);
			taken = true;
		}
	unlock_agenda();
	return taken;
}

void
lane_sweep_ends(const LaneTag *tag, bool found)
{
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		lane->sweeps++;
		lane->found += found;
		SpinLockRelease(&lane->mutex);
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}
