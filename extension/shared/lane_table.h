/*
 * lane_table.h: the table of lanes, for the files that make up shared/lane.h and no others.
 *
 * Each haul.jobs has a set of lanes: its queues stand in a tree in dispatch order, the lanes of a
 * queue in one by priority. Both trees carry the time from which on there may be something to
 * claim: that of the floors.
 *
 * HAUL_LOCK_LANES guards what there is: sets, queues, lanes, and the shape of the trees. What
 * stands in a lane is guarded by its spinlock, taken with at least the shared lock held. The times
 * in the trees, and the lists and the heap of a set, are guarded by HAUL_LOCK_READY, taken after
 * HAUL_LOCK_LANES; who holds that exclusively needs no other.
 */
#ifndef HAUL_LANE_TABLE_H
#define HAUL_LANE_TABLE_H

#include "postgres.h"

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "port/atomics.h"
#include "storage/spin.h"

#include "base/min_tree.h"
#include "base/shmem.h"
#include "shared/database.h"
#include "shared/lane.h"

#define FILTERED_FLOORS 8
#define LOWERINGS 32
#define HOLD_LANES 8
#define HOLD_WORDS 64

typedef struct FilteredFloor
{
	uint64 filter; /* 0: not in use */
	LaneKey floor;
	uint64 used; /* by the lane's clock, to find the one used least recently */
} FilteredFloor;

/* A key made claimable, and the generation that this made. */
typedef struct Lowering
{
	uint64 generation;
	LaneKey key;
} Lowering;

typedef struct LaneSet
{
	Oid database; /* invalid: not in use */
	Oid jobs;
	MinNode *queues; /* in dispatch order */
	int nqueues;
	pairingheap dues;		 /* lanes with a due time, the soonest first */
	dlist_head unheard;		 /* lanes with work for which nobody was called */
	dlist_head sweeps;		 /* all lanes, the one whose last sweep began first in front */
	pg_atomic_uint64 missed; /* how often something became claimable in a lane without an entry */
	uint64 surveyed;		 /* as many of these a survey took notice of */
	TimestampTz surveyed_at; /* end of the last survey */
	uint64 ranking;			 /* hash of the QueueRanking in which the queues stand */
	dlist_head unranked;	 /* queues that have come since */
} LaneSet;

typedef struct LaneQueue
{
	MinNode node; /* in its set */
	LaneTag tag;  /* with priority 0 */
	LaneSet *set; /* NULL: not in use */
	int rank;	  /* its priority among the queues */
	MinNode *lanes;
	int nlanes;
	bool is_unranked;
	dlist_node unranked;
	struct LaneQueue *next; /* with the same hash, or not in use */
} LaneQueue;

typedef struct Lane
{
	MinNode node; /* in its queue */
	LaneQueue *queue;
	int priority;
	struct Lane *next; /* not in use */

	/* under HAUL_LOCK_READY */
	pairingheap_node
		due_node; /* while there is a due time, which is changed under this lock, too */
	dlist_node unheard_node;
	bool unheard;	 /* there is work for which nobody was called */
	bool being_told; /* of that, by the background worker; later work is unheard again */
	dlist_node sweep_node;
	TimestampTz swept_at; /* beginning of the last sweep */

	slock_t mutex; /* guards the rest */
	LaneKey floor;
	TimestampTz known; /* as the trees know the floor, not above it for long */
	uint64 generation;
	FilteredFloor filtered[FILTERED_FLOORS];
	uint64 clock;
	/*
	 * The lowest key of each stretch of generations, oldest first, so with keys that
	 * grow: a lower key makes those before it irrelevant.
	 */
	Lowering lowerings[LOWERINGS];
	int nlowerings;
	TimestampTz due; /* no job that is not due yet falls due earlier */
	TimestampTz used_at;
	int64 scans, scanned, skipped, claimed;
	int64 sweeps, found;
} Lane;

/* What a prepared transaction made ready, under HAUL_LOCK_LANES. */
typedef struct Hold
{
	TransactionId xid; /* invalid: not in use */
	Oid database;
	bool all;	 /* lanes of the database */
	bool missed; /* one of them had no entry */
	int count;	 /* of lanes; more than there is room for: see hashes */
	LaneTag tags[HOLD_LANES];
	LaneKey keys[HOLD_LANES];  /* the first: the lowest of all, if there is no room */
	uint64 hashes[HOLD_WORDS]; /* a bit for each lane, by its hash */
} Hold;

typedef struct Lanes
{
	pg_atomic_uint64 generation; /* last one given to any lane */
	pg_atomic_uint32 nholds;	 /* changed under the lock */

	/* under HAUL_LOCK_LANES */
	TimestampTz evicted_at;
	int nlanes; /* in use */
	int lanes_touched, queues_touched;
	Lane *free_lanes;
	LaneQueue *free_queues;
	LaneSet sets[MAX_DATABASES];
	Hold holds[FLEXIBLE_ARRAY_MEMBER];
} Lanes;

extern Lanes *lanes;

static inline bool
lane_is_expiry(const LaneTag *tag)
{
	return tag->length == 0;
}

#define lane_of(node) ((Lane *) (node)) /* both begin with it */
#define queue_of(node) ((LaneQueue *) (node))

/* ---- lane_table.c; HAUL_LOCK_LANES is held ---- */

extern LaneSet *lane_set(Oid database, Oid jobs);
extern LaneQueue *lane_queue(const LaneTag *tag);
extern Lane *lane_find(const LaneTag *tag);
extern void lane_make_tag(const Lane *lane, LaneTag *tag);
extern uint32 lane_hash(const LaneTag *tag);

/* Where a queue stands in dispatch order. */
typedef struct QueuePlace
{
	int rank;
	const char *name; /* compared as bytes */
	int length;
} QueuePlace;

static inline QueuePlace
queue_place(const LaneQueue *queue)
{
	return (QueuePlace){queue->rank, queue->tag.queue, queue->tag.length};
}

/* Order of queues, of which the keys are QueuePlaces, and of lanes, of which they are priorities.
 */
extern int lane_queue_order(const void *key, const MinNode *queue);
extern int lane_order(const void *key, const MinNode *lane);

/* The lane's entry, made if there is none; NULL when there is no room. Takes the lock, and returns
 * with it held in either mode. */
extern Lane *lane_find_or_make(const LaneTag *tag);

/* Something may be claimable in a lane that has no entry. Whether all lanes were known until now.
 */
extern bool lane_missed(Oid database, Oid jobs);

/* ---- floor.c ---- */

/* Where a worker with these filters (0: none) begins. At least the shared lock is held. */
extern LaneKey floor_for(Lane *lane, const uint64 *filters, int nfilters);
/* Makes a lane's floor fall. At least the shared lock is held. */
extern void floor_lower(Lane *lane, LaneKey key);
/* Remembers the lowering for scans under way. The spinlock is held. */
extern void floor_remember(Lane *lane, LaneKey key);
/* Tells the trees where the floor is by now. At least the shared lock is held. */
extern void floor_settle(Lane *lane);

/* ---- hold.c ---- */

extern Size hold_shmem_size(void);
/* The lowest key of the lane that a prepared transaction holds. At least the shared lock is held.
 */
extern LaneKey hold_limit(const LaneTag *tag);

#endif
