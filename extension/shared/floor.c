/*
 * floor.c: where scans of the lanes begin; the rules stand in lane.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "shared/lane_table.h"

static void
release_lock(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

/*
 * Whoever changes a floor settles afterwards, and all read the floor as it is by then, so the trees
 * end up with the last one. What they know may be below the floor, which costs a look in vain.
 */
void
floor_settle(Lane *lane)
{
	LaneQueue *queue = lane->queue;
	TimestampTz from;

	LWLockAcquire(haul_lock(HAUL_LOCK_READY), LW_EXCLUSIVE);
	SpinLockAcquire(&lane->mutex);
	from = lane->known = lane->floor.run_at;
	SpinLockRelease(&lane->mutex);
	min_tree_set(&lane->node, from);
	if (!lane_is_expiry(&queue->tag))
		min_tree_set(&queue->node, min_tree_least(queue->lanes));
	LWLockRelease(haul_lock(HAUL_LOCK_READY));
}

/* ---- scans ---- */

uint64
lane_generation(void)
{
	uint64 generation = haul_is_preloaded() ? pg_atomic_read_u64(&lanes->generation) : 0;

	pg_read_barrier();
	return generation;
}

static FilteredFloor *
find_filtered(Lane *lane, uint64 filter)
{
	for (int i = 0; i < FILTERED_FLOORS; i++)
		if (lane->filtered[i].filter == filter)
			return &lane->filtered[i];
	return NULL;
}

LaneKey
floor_for(Lane *lane, const uint64 *filters, int nfilters)
{
	LaneKey from;

	SpinLockAcquire(&lane->mutex);
	from = lane->floor;
	for (int i = 0; i < nfilters; i++)
	{
		FilteredFloor *filtered = filters[i] == 0 ? NULL : find_filtered(lane, filters[i]);

		if (filtered == NULL)
			continue;
		filtered->used = ++lane->clock;
		from = lane_key_max(from, filtered->floor);
	}
	SpinLockRelease(&lane->mutex);
	return from;
}

void
lane_scan_begin(LaneScan *scan, uint64 generation, uint64 kinds_filter, uint64 name_filter)
{
	Lane *lane;

	scan->generation = generation;
	scan->filters[LANE_NOT_ITS_KIND] = 0;
	scan->filters[LANE_NOT_ITS_NAME] = kinds_filter;
	scan->filters[LANE_BUSY] = name_filter;
	scan->from = LANE_LOWEST;
	scan->reached = LANE_LOWEST;
	for (int i = 0; i < LANE_OBSTACLES; i++)
		scan->passed[i] = LANE_HIGHEST;
	scan->scanned = scan->skipped = scan->claimed = 0;
	scan->has_floor = haul_is_preloaded() && database_is_served();
	if (!scan->has_floor)
		return;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(&scan->tag);
	if (lane != NULL)
		scan->from = floor_for(lane, scan->filters, LANE_OBSTACLES);
	release_lock();
}

void
lane_scan_passed(LaneScan *scan, LaneKey key, LaneObstacle why)
{
	/* whoever is busy with it holds up everybody, another kind only those without filter */
	for (int i = 0; i <= (int) why; i++)
		scan->passed[i] = lane_key_min(scan->passed[i], key);
	scan->skipped++;
}

bool
lane_scan_end(const LaneScan *scan)
{
	Lane *lane;

	if (!scan->has_floor)
		return false;
	lane = lane_find_or_make(&scan->tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		lane->scans++;
		lane->scanned += scan->scanned;
		lane->skipped += scan->skipped;
		lane->claimed += scan->claimed;
		lane->used_at = GetCurrentStatementStartTimestamp();
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return lane != NULL;
}

/* ---- raising ---- */

/* The lowest key that was made claimable since that generation. */
static LaneKey
lowered_since(const Lane *lane, uint64 generation)
{
	for (int i = 0; i < lane->nlowerings; i++)
		if (lane->lowerings[i].generation > generation)
			return lane->lowerings[i].key;
	return LANE_HIGHEST;
}

static void
raise_filtered(Lane *lane, FilteredFloor *filtered, uint64 filter, LaneKey floor)
{
	if (filtered == NULL)
	{
		filtered = &lane->filtered[0];
		for (int i = 1; i < FILTERED_FLOORS; i++)
			if (lane->filtered[i].used < filtered->used)
				filtered = &lane->filtered[i];
		filtered->filter = filter;
		filtered->floor = lane->floor;
		filtered->used = ++lane->clock;
	}
	filtered->floor = lane_key_max(filtered->floor, floor);
}

/*
 * What a scan did not look at it knows nothing of: a floor is raised only if the
 * scan began at or below it, for a filtered floor at or below where its workers begin now.
 */
void
lane_raise(const LaneScan *scan)
{
	TimestampTz now = GetCurrentTimestamp();
	Lane *lane;
	LaneKey limit;
	LaneKey begin;
	bool settle;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(&scan->tag);
	if (lane != NULL)
	{
		limit = lane_key_min(scan->reached, hold_limit(&scan->tag));
		SpinLockAcquire(&lane->mutex);
		limit = lane_key_min(limit, lowered_since(lane, scan->generation));
		begin = lane->floor;
		if (lane_key_compare(scan->from, begin) <= 0)
			lane->floor =
				lane_key_max(lane->floor, lane_key_min(limit, scan->passed[LANE_NOT_ITS_KIND]));
		for (int i = LANE_NOT_ITS_NAME; i < LANE_OBSTACLES; i++)
		{
			LaneKey floor = lane_key_min(limit, scan->passed[i]);
			FilteredFloor *filtered;

			if (scan->filters[i] == 0)
				continue;
			filtered = find_filtered(lane, scan->filters[i]);
			if (filtered != NULL)
			{
				filtered->used = ++lane->clock;
				begin = lane_key_max(begin, filtered->floor);
			}
			/* a filtered floor is worth its place only where it is above the floor of more workers
			 */
			if (lane_key_compare(scan->from, begin) <= 0 &&
				(filtered != NULL ||
				 lane_key_compare(floor, lane_key_min(limit, scan->passed[i - 1])) > 0))
				raise_filtered(lane, filtered, scan->filters[i], floor);
		}
		/* as long as there may be something due, the trees need not know where */
		settle = lane->floor.run_at > lane->known && lane->floor.run_at > now;
		SpinLockRelease(&lane->mutex);
		if (settle)
			floor_settle(lane);
	}
	release_lock();
}

/* ---- lowering ---- */

void
floor_remember(Lane *lane, LaneKey key)
{
	Lowering lowering = {0};

	lane->generation = pg_atomic_add_fetch_u64(&lanes->generation, 1);
	lowering.generation = lane->generation;
	lowering.key = key;
	/* those with higher keys: whoever asks for them must hear of this one, too */
	while (lane->nlowerings > 0 &&
		   lane_key_compare(lane->lowerings[lane->nlowerings - 1].key, lowering.key) >= 0)
		lane->nlowerings--;
	if (lane->nlowerings == LOWERINGS)
	{
		/* thin out: of two, the later generation with the lower key is on the safe side */
		for (int i = 0; i < LOWERINGS / 2; i++)
		{
			lane->lowerings[i].generation = lane->lowerings[2 * i + 1].generation;
			lane->lowerings[i].key = lane->lowerings[2 * i].key;
		}
		lane->nlowerings = LOWERINGS / 2;
	}
	lane->lowerings[lane->nlowerings++] = lowering;
}

void
floor_lower(Lane *lane, LaneKey key)
{
	bool settle;

	SpinLockAcquire(&lane->mutex);
	floor_remember(lane, key);
	lane->floor = lane_key_min(lane->floor, key);
	for (int i = 0; i < FILTERED_FLOORS; i++)
		if (lane->filtered[i].filter != 0)
			lane->filtered[i].floor = lane_key_min(lane->filtered[i].floor, key);
	settle = lane->floor.run_at < lane->known;
	SpinLockRelease(&lane->mutex);
	if (settle)
		floor_settle(lane);
}

bool
lane_lower(const LaneTag *tag, LaneKey key)
{
	Lane *lane;
	bool surveyed = true;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
		floor_lower(lane, key);
	else if (!lane_is_expiry(tag))
		surveyed = !lane_missed(tag->database, tag->jobs);
	release_lock();
	return surveyed;
}

/* ---- for the sweep ---- */

LaneKey
lane_floor(const LaneTag *tag)
{
	LaneKey floor = LANE_LOWEST;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		floor = lane->floor;
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return floor;
}

/*
 * A sweep does not know what the workers of a filtered floor may take, so these end, and
 * with them what scans under way know: a job that came around the callbacks lies
 * below the floor, or will be found by the next scan.
 */
LaneKey
lane_sweep_begins(const LaneTag *tag)
{
	LaneKey floor = LANE_LOWEST;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		floor_remember(lane, LANE_LOWEST);
		for (int i = 0; i < FILTERED_FLOORS; i++)
			lane->filtered[i].filter = 0;
		floor = lane->floor;
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return floor;
}
