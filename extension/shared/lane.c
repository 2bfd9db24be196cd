/*
 * lane.c: floors of the lanes, in shared memory.
 *
 * The table of lanes and the holds are guarded by HAUL_LOCK_LANES, what stands in a
 * lane by its spinlock, taken with at least the shared lock held.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "shared/database.h"
#include "shared/lane.h"

#define VIEWS 8
#define LOWERINGS 32
#define CRY_INTERVAL (100 * 1000)			 /* microseconds, for those who LISTEN only */
#define UNUSED_AFTER (10 * USECS_PER_MINUTE) /* then the entry of a lane may go to another */

typedef struct View
{
	uint64 filter; /* 0: not in use */
	LaneKey floor;
	uint64 used; /* by the lane's clock, to find the one used least recently */
} View;

/* A key made claimable, and the generation that this made. */
typedef struct Lowering
{
	uint64 generation;
	LaneKey key;
} Lowering;

typedef struct Lane
{
	LaneTag tag;
	slock_t mutex; /* guards the rest */
	LaneKey floor;
	uint64 generation;
	View views[VIEWS];
	uint64 clock;
	/*
	 * The lowest key of each stretch of generations, oldest first, so with keys that
	 * grow: a lower key makes those before it irrelevant.
	 */
	Lowering lowerings[LOWERINGS];
	int nlowerings;
	TimestampTz due;	  /* no job that is not due yet falls due earlier */
	bool cries;			  /* there is work for which nobody was woken */
	TimestampTz cried_at; /* when that was passed on */
	TimestampTz used_at;
	int64 scanned, skipped, claimed;
	int64 sweeps, found;
	TimestampTz swept_at; /* beginning of the last sweep */
} Lane;

typedef struct Hold
{
	TransactionId xid; /* invalid: not in use */
	Oid database;
	int count; /* of lanes; -1: all */
	LaneTag tags[HOLD_LANES];
	LaneKey keys[HOLD_LANES];
} Hold;

typedef struct Lanes
{
	pg_atomic_uint64 generation; /* last one given to any lane */
	pg_atomic_uint32 nholds;	 /* changed under the lock */
	TimestampTz evicted_at;		 /* under the exclusive lock */
	Hold holds[FLEXIBLE_ARRAY_MEMBER];
} Lanes;

static Lanes *lanes;
static HTAB *table;

/* ---- shared memory ---- */

static int
max_holds(void)
{
	/* as many again for those that are gone but not lifted yet */
	return 2 * max_prepared_xacts;
}

static Size
holds_size(void)
{
	return offsetof(Lanes, holds) + max_holds() * sizeof(Hold);
}

Size
lane_shmem_size(void)
{
	return holds_size();
}

void
lane_shmem_attach(void *memory, bool found)
{
	HASHCTL info = {.keysize = sizeof(LaneTag), .entrysize = sizeof(Lane)};

	lanes = memory;
	if (!found)
	{
		pg_atomic_init_u64(&lanes->generation, 1);
		pg_atomic_init_u32(&lanes->nholds, 0);
	}
	table = haul_shmem_hash("pg_haul lane table", haul_max_lanes, &info,
							HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

Size
lane_table_shmem_size(void)
{
	return hash_estimate_size(haul_max_lanes, sizeof(Lane));
}

/* ---- tags ---- */

static void
make_tag(LaneTag *tag, const char *queue, int length, int priority)
{
	/* only the trigger sees to it that names are short, and there are ways around it */
	if (length > QUEUE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("haul.jobs.queue has a name of %d bytes, longer than 63 characters can be",
						length),
				 errhint("Rename the queue, or delete the job.")));
	memset(tag, 0, sizeof(LaneTag)); /* compared as bytes */
	tag->database = MyDatabaseId;
	tag->jobs = haul_catalog()->jobs;
	tag->priority = priority;
	tag->length = length;
	memcpy(tag->queue, queue, length);
}

void
lane_tag(LaneTag *tag, const text *queue, int priority)
{
	make_tag(tag, VARDATA_ANY(queue), VARSIZE_ANY_EXHDR(queue), priority);
}

void
lane_tag_expiry(LaneTag *tag)
{
	make_tag(tag, "", 0, 0);
}

static bool
is_expiry(const LaneTag *tag)
{
	return tag->length == 0;
}

/* ---- the table ---- */

static Lane *
find(const LaneTag *tag)
{
	return hash_search(table, tag, HASH_FIND, NULL);
}

/* Takes the entries of lanes that nobody used lately. The exclusive lock is held. */
static void
evict_unused(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	Lane *lane;

	if (now < lanes->evicted_at + USECS_PER_MINUTE && now > lanes->evicted_at)
		return;
	lanes->evicted_at = now;
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
		if (lane->used_at < now - UNUSED_AFTER && TIMESTAMP_IS_NOEND(lane->due))
			hash_search(table, &lane->tag, HASH_REMOVE, NULL);
}

/* The lane's entry, made if there is none; NULL when there is no room. Returns with
 * the lock held in either mode. */
static Lane *
find_or_make(const LaneTag *tag)
{
	TimestampTz now;
	Lane *lane;
	bool found;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL)
		return lane;
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));

	now = GetCurrentTimestamp();
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	if (hash_get_num_entries(table) >= haul_max_lanes)
		evict_unused(now);
	if (hash_get_num_entries(table) >= haul_max_lanes)
		return find(tag);
	lane = hash_search(table, tag, HASH_ENTER_NULL, &found);
	if (lane == NULL || found)
		return lane;
	memset((char *) lane + sizeof(LaneTag), 0, sizeof(Lane) - sizeof(LaneTag));
	SpinLockInit(&lane->mutex);
	lane->floor = LANE_LOWEST;
	lane->due = DT_NOEND;
	lane->used_at = now;
	lane->swept_at = now;

	/* Newer than any scan under way, which may have missed what others lowered before
	 * there was an entry: none of those may raise. */
	lane->generation = pg_atomic_add_fetch_u64(&lanes->generation, 1);
	lane->lowerings[0].generation = lane->generation;
	lane->lowerings[0].key = LANE_LOWEST;
	lane->nlowerings = 1;
	return lane;
}

static void
release_lock(void)
{
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

void
lane_ensure(const LaneTag *tag)
{
	(void) find_or_make(tag);
	release_lock();
}

void
lane_forget(Oid database, Oid but_of)
{
	HASH_SEQ_STATUS status;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
		if (lane->tag.database == database && lane->tag.jobs != but_of)
			hash_search(table, &lane->tag, HASH_REMOVE, NULL);
	release_lock();
}

/* ---- scans ---- */

uint64
lane_generation(void)
{
	uint64 generation = haul_is_preloaded() ? pg_atomic_read_u64(&lanes->generation) : 0;

	pg_read_barrier();
	return generation;
}

static View *
find_view(Lane *lane, uint64 filter)
{
	for (int i = 0; i < VIEWS; i++)
		if (lane->views[i].filter == filter)
		{
			lane->views[i].used = ++lane->clock;
			return &lane->views[i];
		}
	return NULL;
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
	if (!haul_is_preloaded() || !database_is_served())
		return;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(&scan->tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		scan->from = lane->floor;
		for (int i = LANE_NOT_ITS_NAME; i < LANE_OBSTACLES; i++)
		{
			View *view = scan->filters[i] == 0 ? NULL : find_view(lane, scan->filters[i]);

			if (view != NULL)
				scan->from = lane_key_max(scan->from, view->floor);
		}
		SpinLockRelease(&lane->mutex);
	}
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

	if (!haul_is_preloaded() || !database_is_served())
		return false;
	lane = find_or_make(&scan->tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
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

/* The lowest key of the lane that a prepared transaction holds. */
static LaneKey
held(const LaneTag *tag)
{
	LaneKey lowest = LANE_HIGHEST;

	if (pg_atomic_read_u32(&lanes->nholds) == 0)
		return lowest;
	for (int i = 0; i < max_holds(); i++)
	{
		const Hold *hold = &lanes->holds[i];

		if (!TransactionIdIsValid(hold->xid) || hold->database != tag->database)
			continue;
		if (hold->count < 0)
			return LANE_LOWEST;
		for (int j = 0; j < hold->count; j++)
			if (memcmp(&hold->tags[j], tag, sizeof(LaneTag)) == 0)
				lowest = lane_key_min(lowest, hold->keys[j]);
	}
	return lowest;
}

static void
raise_view(Lane *lane, View *view, uint64 filter, LaneKey floor)
{
	if (view == NULL)
	{
		view = &lane->views[0];
		for (int i = 1; i < VIEWS; i++)
			if (lane->views[i].used < view->used)
				view = &lane->views[i];
		view->filter = filter;
		view->floor = lane->floor;
		view->used = ++lane->clock;
	}
	view->floor = lane_key_max(view->floor, floor);
}

/*
 * What a scan did not look at it knows nothing of: a floor is raised only if the
 * scan began at or below it, for a view at or below where its workers begin now.
 */
void
lane_raise(const LaneScan *scan)
{
	Lane *lane;
	LaneKey limit;
	LaneKey begin;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(&scan->tag);
	if (lane != NULL)
	{
		limit = lane_key_min(scan->reached, held(&scan->tag));
		SpinLockAcquire(&lane->mutex);
		limit = lane_key_min(limit, lowered_since(lane, scan->generation));
		begin = lane->floor;
		if (lane_key_compare(scan->from, begin) <= 0)
			lane->floor =
				lane_key_max(lane->floor, lane_key_min(limit, scan->passed[LANE_NOT_ITS_KIND]));
		for (int i = LANE_NOT_ITS_NAME; i < LANE_OBSTACLES; i++)
		{
			LaneKey floor = lane_key_min(limit, scan->passed[i]);
			View *view;

			if (scan->filters[i] == 0)
				continue;
			view = find_view(lane, scan->filters[i]);
			if (view != NULL)
				begin = lane_key_max(begin, view->floor);
			/* a view is worth its place only where it is above the floor of more workers */
			if (lane_key_compare(scan->from, begin) <= 0 &&
				(view != NULL ||
				 lane_key_compare(floor, lane_key_min(limit, scan->passed[i - 1])) > 0))
				raise_view(lane, view, scan->filters[i], floor);
		}
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
}

/* ---- lowering ---- */

/* Remembers the lowering for scans under way. The spinlock is held. */
static void
remember(Lane *lane, Lowering lowering)
{
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

/* At least the shared lock is held. */
static void
lower_lane(Lane *lane, LaneKey key)
{
	SpinLockAcquire(&lane->mutex);
	lane->generation = pg_atomic_add_fetch_u64(&lanes->generation, 1);
	remember(lane, (Lowering){lane->generation, key});
	lane->floor = lane_key_min(lane->floor, key);
	for (int i = 0; i < VIEWS; i++)
		if (lane->views[i].filter != 0)
			lane->views[i].floor = lane_key_min(lane->views[i].floor, key);
	SpinLockRelease(&lane->mutex);
}

void
lane_lower(const LaneTag *tag, LaneKey key)
{
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL)
		lower_lane(lane, key);
	release_lock();
}

/* The lock is held exclusively: scanning the table registers with the backend, which allocates
 * nothing. */
static void
lower_all(Oid database)
{
	HASH_SEQ_STATUS status;
	Lane *lane;

	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
		if (lane->tag.database == database)
			lower_lane(lane, LANE_LOWEST);
}

/* ---- prepared transactions ---- */

static void
lower_held(const Hold *hold)
{
	if (hold->count < 0)
		lower_all(hold->database);
	for (int i = 0; i < hold->count; i++)
	{
		Lane *lane = find(&hold->tags[i]);

		if (lane != NULL)
			lower_lane(lane, hold->keys[i]);
	}
}

/* Transactions that are gone, but still hold something, in the database, or in any if that is
 * invalid. The lock is not held while the server is asked about them, which may take its time.
 * Returns how many. */
static int
find_gone(Oid database, TransactionId **gone)
{
	int held = 0;
	int count = 0;

	*gone = palloc(max_holds() * sizeof(TransactionId) + 1);
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	for (int i = 0; i < max_holds(); i++)
		if (TransactionIdIsValid(lanes->holds[i].xid) &&
			(!OidIsValid(database) || lanes->holds[i].database == database))
			(*gone)[held++] = lanes->holds[i].xid;
	release_lock();
	for (int i = 0; i < held; i++)
		if (!TransactionIdIsInProgress((*gone)[i]))
			(*gone)[count++] = (*gone)[i];
	return count;
}

/* The hold of the transaction; of the invalid one, a free hold. NULL when there is none. The lock
 * is held. */
static Hold *
hold_of(TransactionId xid)
{
	for (int i = 0; i < max_holds(); i++)
		if (lanes->holds[i].xid == xid)
			return &lanes->holds[i];
	return NULL;
}

/* Frees the hold of a transaction that is gone; *lifted is what it was. False when somebody else
 * did. The exclusive lock is held. */
static bool
lift(TransactionId gone, Hold *lifted)
{
	Hold *hold = hold_of(gone);

	if (hold == NULL)
		return false;
	lower_held(hold);
	*lifted = *hold;
	hold->xid = InvalidTransactionId;
	pg_atomic_fetch_sub_u32(&lanes->nholds, 1);
	return true;
}

/* The exclusive lock is held. */
static Hold *
take_hold(TransactionId xid, const LaneTag *tags, const LaneKey *keys, int count)
{
	Hold *hold = hold_of(xid);

	if (hold != NULL)
		return hold;
	hold = hold_of(InvalidTransactionId);
	if (hold == NULL)
		return NULL;
	hold->xid = xid;
	hold->database = MyDatabaseId;
	hold->count = count > HOLD_LANES ? -1 : count;
	for (int i = 0; i < hold->count; i++)
	{
		hold->tags[i] = tags[i];
		hold->keys[i] = keys[i];
	}
	pg_atomic_fetch_add_u32(&lanes->nholds, 1);
	lower_held(hold);
	return hold;
}

void
lane_hold(TransactionId xid, const LaneTag *tags, const LaneKey *keys, int count)
{
	Hold lifted = {.xid = InvalidTransactionId};
	Hold *hold;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	hold = take_hold(xid, tags, keys, count);
	release_lock();
	if (hold == NULL)
	{
		TransactionId *gone;

		if (find_gone(InvalidOid, &gone) > 0)
		{
			LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
			(void) lift(gone[0], &lifted);
			hold = take_hold(xid, tags, keys, count);
			release_lock();
		}
		pfree(gone);
	}
	if (TransactionIdIsValid(lifted.xid))
	{
		/* its jobs are ready, and nobody has been woken for them */
		(void) database_due_at(lifted.database, GetCurrentTimestamp());
		database_wake_worker(lifted.database);
	}
	if (hold == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many transactions that enqueued jobs are prepared"),
						errhint("Try again, or increase max_prepared_transactions.")));
}

int
lane_lift_holds(Oid database, void (*lifted)(const LaneTag *tag))
{
	int remaining = 0;
	TransactionId *gone;
	int count;

	if (pg_atomic_read_u32(&lanes->nholds) == 0)
		return 0;
	count = find_gone(database, &gone);
	for (int i = 0; i < count; i++)
	{
		Hold hold;
		bool found;

		LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
		found = lift(gone[i], &hold);
		release_lock();
		if (found && hold.count < 0)
			lifted(NULL);
		for (int j = 0; found && j < hold.count; j++)
			lifted(&hold.tags[j]);
	}
	pfree(gone);

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	for (int i = 0; i < max_holds(); i++)
		if (TransactionIdIsValid(lanes->holds[i].xid) && lanes->holds[i].database == database)
			remaining++;
	release_lock();
	return remaining;
}

/* ---- jobs that fall due later ---- */

LaneDue
lane_due_at(const LaneTag *tag, TimestampTz due)
{
	LaneDue result = LANE_DUE_LOST;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		result = due < lane->due ? LANE_DUE_SOONEST : LANE_DUE_LATER;
		lane->due = Min(due, lane->due);
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return result;
}

bool
lane_take_due(Oid database, TimestampTz now, LaneTag *tag)
{
	HASH_SEQ_STATUS status;
	Lane *lane;
	bool taken = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
	{
		if (lane->tag.database != database)
			continue;
		SpinLockAcquire(&lane->mutex);
		taken = lane->due <= now;
		if (taken)
			lane->due = DT_NOEND;
		SpinLockRelease(&lane->mutex);
		if (taken)
		{
			*tag = lane->tag;
			hash_seq_term(&status);
			break;
		}
	}
	release_lock();
	return taken;
}

TimestampTz
lane_next_due(Oid database)
{
	HASH_SEQ_STATUS status;
	TimestampTz next = DT_NOEND;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
		if (lane->tag.database == database)
		{
			SpinLockAcquire(&lane->mutex);
			next = Min(next, lane->due);
			SpinLockRelease(&lane->mutex);
		}
	release_lock();
	return next;
}

/* ---- work for which nobody was woken ---- */

bool
lane_cry(const LaneTag *tag)
{
	Lane *lane;
	bool first = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL && !lane->cries)
	{
		SpinLockAcquire(&lane->mutex);
		first = !lane->cries;
		lane->cries = true;
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return first;
}

bool
lane_take_cry(Oid database, TimestampTz now, LaneTag *tag, TimestampTz *next)
{
	HASH_SEQ_STATUS status;
	Lane *lane;
	bool taken = false;

	*next = DT_NOEND;
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
	{
		if (lane->tag.database != database)
			continue;
		SpinLockAcquire(&lane->mutex);
		if (lane->cries && lane->cried_at + CRY_INTERVAL > now)
			*next = Min(*next, lane->cried_at + CRY_INTERVAL);
		else if (lane->cries)
		{
			lane->cries = false;
			lane->cried_at = now;
			taken = true;
		}
		SpinLockRelease(&lane->mutex);
		if (taken)
		{
			*tag = lane->tag;
			hash_seq_term(&status);
			break;
		}
	}
	release_lock();
	return taken;
}

/* ---- sweeps ---- */

bool
lane_next_to_sweep(Oid database, TimestampTz before, LaneTag *tag)
{
	HASH_SEQ_STATUS status;
	Lane *lane;
	bool found = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
	{
		if (lane->tag.database != database || is_expiry(&lane->tag))
			continue;
		SpinLockAcquire(&lane->mutex);
		if (lane->swept_at < before && lane_key_compare(lane->floor, LANE_LOWEST) > 0)
		{
			before = lane->swept_at;
			*tag = lane->tag;
			found = true;
		}
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return found;
}

LaneKey
lane_floor(const LaneTag *tag)
{
	LaneKey floor = LANE_LOWEST;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
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
 * A sweep does not know what the workers of a view may take, so views end, and
 * with them what scans under way know: a job that came around the callbacks lies
 * below the floor, or will be found by the next scan.
 */
LaneKey
lane_sweep_begins(const LaneTag *tag, TimestampTz now)
{
	LaneKey floor = LANE_LOWEST;
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		lane->generation = pg_atomic_add_fetch_u64(&lanes->generation, 1);
		remember(lane, (Lowering){lane->generation, LANE_LOWEST});
		for (int i = 0; i < VIEWS; i++)
			lane->views[i].filter = 0;
		lane->swept_at = now;
		floor = lane->floor;
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
	return floor;
}

void
lane_sweep_ends(const LaneTag *tag, bool found)
{
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = find(tag);
	if (lane != NULL)
	{
		SpinLockAcquire(&lane->mutex);
		lane->sweeps++;
		lane->found += found;
		SpinLockRelease(&lane->mutex);
	}
	release_lock();
}

/* ---- haul.lanes ---- */

static void
show(const Lane *lane, ReturnSetInfo *result)
{
	Datum values[12];
	bool nulls[12] = {false};
	bool none = lane_key_compare(lane->floor, LANE_LOWEST) == 0;

	values[0] = PointerGetDatum(cstring_to_text_with_len(lane->tag.queue, lane->tag.length));
	values[1] = Int16GetDatum(lane->tag.priority);
	values[2] = TimestampTzGetDatum(lane->floor.run_at);
	values[3] = Int64GetDatum(lane->floor.id);
	nulls[2] = nulls[3] = none;
	values[4] = Int64GetDatum((int64) lane->generation);
	values[5] = Int64GetDatum(lane->scanned);
	values[6] = Int64GetDatum(lane->skipped);
	values[7] = Int64GetDatum(lane->claimed);
	values[8] = TimestampTzGetDatum(lane->due);
	nulls[8] = TIMESTAMP_IS_NOEND(lane->due);
	values[9] = Int64GetDatum(lane->sweeps);
	values[10] = TimestampTzGetDatum(lane->swept_at);
	nulls[10] = lane->sweeps == 0;
	values[11] = Int64GetDatum(lane->found);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(haul_lanes);

/* The lanes of the current database; none when the server does not preload pg_haul. */
Datum
haul_lanes(PG_FUNCTION_ARGS)
{
	HASH_SEQ_STATUS status;
	Lane *copies;
	Lane *lane;
	int count = 0;
	Oid jobs;

	InitMaterializedSRF(fcinfo, 0);
	if (!haul_is_preloaded())
		return (Datum) 0;

	jobs = haul_catalog()->jobs;
	copies = MemoryContextAllocHuge(CurrentMemoryContext, haul_max_lanes * sizeof(Lane));
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	hash_seq_init(&status, table);
	while ((lane = hash_seq_search(&status)) != NULL)
		if (lane->tag.database == MyDatabaseId && lane->tag.jobs == jobs && !is_expiry(&lane->tag))
		{
			SpinLockAcquire(&lane->mutex);
			copies[count++] = *lane;
			SpinLockRelease(&lane->mutex);
		}
	release_lock();
	for (int i = 0; i < count; i++)
		show(&copies[i], (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
