/*
 * hold.c: floors that prepared transactions hold down.
 *
 * COMMIT PREPARED runs no callback of ours, so what such a transaction makes ready limits the
 * floors of its lanes until it is gone, which the background worker sees.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "shared/database.h"
#include "shared/lane_table.h"

static void
hold_release_lock(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

static int
max_holds(void)
{
	/* as many again for those that are gone but not lifted yet */
	return 2 * max_prepared_xacts;
}

Size
hold_shmem_size(void)
{
	return mul_size(max_holds(), sizeof(Hold));
}

/* ---- which lanes ---- */

/* Whether the hold has no room for the names of its lanes. */
static bool
is_hashed(const Hold *hold)
{
	return hold->count > HOLD_LANES;
}

static void
add_hash(Hold *hold, uint32 hash)
{
	hold->hashes[hash / 64 % HOLD_WORDS] |= UINT64CONST(1) << hash % 64;
}

static bool
has_hash(const Hold *hold, uint32 hash)
{
	return (hold->hashes[hash / 64 % HOLD_WORDS] & UINT64CONST(1) << hash % 64) != 0;
}

/* The lowest key of the lane in this hold. */
static LaneKey
limit_of(const Hold *hold, const LaneTag *tag)
{
	LaneKey lowest = LANE_HIGHEST;

	if (hold->all)
		return LANE_LOWEST;
	if (is_hashed(hold))
		return has_hash(hold, lane_hash(tag)) ? hold->keys[0] : LANE_HIGHEST;
	for (int i = 0; i < hold->count; i++)
		if (memcmp(&hold->tags[i], tag, sizeof(LaneTag)) == 0)
			lowest = lane_key_min(lowest, hold->keys[i]);
	return lowest;
}

LaneKey
hold_limit(const LaneTag *tag)
{
	LaneKey lowest = LANE_HIGHEST;

	if (pg_atomic_read_u32(&lanes->nholds) == 0)
		return lowest;
	for (int i = 0; i < max_holds(); i++)
		if (TransactionIdIsValid(lanes->holds[i].xid) && lanes->holds[i].database == tag->database)
			lowest = lane_key_min(lowest, limit_of(&lanes->holds[i], tag));
	return lowest;
}

/* ---- holding ---- */

static void
lower(const LaneTag *tag, LaneKey key)
{
	Lane *lane = lane_find(tag);

	if (lane != NULL)
		floor_lower(lane, key);
	else if (!lane_is_expiry(tag))
		(void) lane_missed(tag->database, tag->jobs);
}

static void
lower_if_held(const Hold *hold, Lane *lane)
{
	LaneTag tag;
	LaneKey limit;

	lane_make_tag(lane, &tag);
	limit = limit_of(hold, &tag);
	if (lane_key_compare(limit, LANE_HIGHEST) < 0)
		floor_lower(lane, limit);
}

/* Lowers all lanes of which the hold has no names. */
static void
lower_unnamed(const Hold *hold)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		LaneSet *set = &lanes->sets[i];
		dlist_iter iter;
		Lane *expiry;

		if (set->database != hold->database)
			continue;
		dlist_foreach(iter, &set->sweeps)
			lower_if_held(hold, dlist_container(Lane, sweep_node, iter.cur));
		expiry = lane_find(&(LaneTag){.database = set->database, .jobs = set->jobs});
		if (expiry != NULL)
			lower_if_held(hold, expiry);
	}
}

/* There may be something in lanes of the database that have no entry. */
static void
miss_all(Oid database)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (lanes->sets[i].database == database)
			pg_atomic_fetch_add_u64(&lanes->sets[i].missed, 1);
}

/* The exclusive lock is held. */
static void
lower_held(const Hold *hold)
{
	if (hold->all || is_hashed(hold))
		lower_unnamed(hold);
	else
		for (int i = 0; i < hold->count; i++)
			lower(&hold->tags[i], hold->keys[i]);
}

static void
fill(Hold *hold, TransactionId xid, const LaneTag *tags, const LaneKey *keys, int count)
{
	memset(hold, 0, sizeof(Hold));
	hold->xid = xid;
	hold->database = MyDatabaseId;
	hold->all = count < 0;
	hold->count = Max(count, 0);
	for (int i = 0; i < count; i++)
	{
		if (is_hashed(hold))
		{
			hold->missed |= !lane_is_expiry(&tags[i]) && lane_find(&tags[i]) == NULL;
			hold->keys[0] = i == 0 ? keys[i] : lane_key_min(hold->keys[0], keys[i]);
			add_hash(hold, lane_hash(&tags[i]));
			continue;
		}
		hold->tags[i] = tags[i];
		hold->keys[i] = keys[i];
	}
}

/* Lifts a hold of a transaction that is gone, but only of one database unless that is invalid, and
 * copies it. False when there is none. */
static bool
lift(Oid database, Hold *lifted)
{
	for (int i = 0; i < max_holds(); i++)
	{
		Hold *hold = &lanes->holds[i];
		TransactionId xid;
		bool done;

		LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
		xid =
			!OidIsValid(database) || hold->database == database ? hold->xid : InvalidTransactionId;
		hold_release_lock();
		/* not asked under the lock: it takes locks of its own */
		if (!TransactionIdIsValid(xid) || TransactionIdIsInProgress(xid))
			continue;
		LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
		done = TransactionIdEquals(hold->xid, xid);
		if (done)
		{
			lower_held(hold);
			if (hold->all || hold->missed)
				miss_all(hold->database);
			*lifted = *hold;
			hold->xid = InvalidTransactionId;
			pg_atomic_fetch_sub_u32(&lanes->nholds, 1);
		}
		hold_release_lock();
		if (done)
			return true;
	}
	return false;
}

/* The hold of the transaction, or a free one; NULL when there is none. The exclusive lock is held.
 */
static Hold *
hold_for(TransactionId xid)
{
	Hold *free = NULL;

	for (int i = 0; i < max_holds(); i++)
		if (TransactionIdEquals(lanes->holds[i].xid, xid))
			return &lanes->holds[i];
		else if (!TransactionIdIsValid(lanes->holds[i].xid))
			free = &lanes->holds[i];
	return free;
}

void
lane_hold(TransactionId xid, const LaneTag *tags, const LaneKey *keys, int count)
{
	Hold lifted = {.xid = InvalidTransactionId};
	Hold *hold;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	while ((hold = hold_for(xid)) == NULL)
	{
		bool freed;

		hold_release_lock();
		freed = lift(InvalidOid, &lifted);
		if (freed)
		{
			/* its jobs are ready, and nobody has been woken for them */
			(void) database_plan(lifted.database, DATABASE_DUE, GetCurrentTimestamp());
			database_wake_worker(lifted.database);
		}
		LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
		if (!freed)
			break;
	}
	if (hold != NULL && !TransactionIdIsValid(hold->xid))
	{
		fill(hold, xid, tags, keys, count);
		pg_atomic_fetch_add_u32(&lanes->nholds, 1);
		lower_held(hold);
	}
	hold_release_lock();
	if (hold == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many transactions that enqueued jobs are prepared"),
						errhint("Try again, or increase max_prepared_transactions.")));
}

int
lane_lift_holds(Oid database, void (*lifted)(const LaneTag *tag))
{
	int remaining = 0;
	Hold hold;

	if (pg_atomic_read_u32(&lanes->nholds) == 0)
		return 0;
	while (lift(database, &hold))
	{
		if (hold.all || is_hashed(&hold))
			lifted(NULL);
		else
			for (int i = 0; i < hold.count; i++)
				lifted(&hold.tags[i]);
	}

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	for (int i = 0; i < max_holds(); i++)
		if (TransactionIdIsValid(lanes->holds[i].xid) && lanes->holds[i].database == database)
			remaining++;
	hold_release_lock();
	return remaining;
}
