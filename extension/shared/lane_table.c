/*
 * lane_table.c: the table of lanes, in shared memory.
 *
 * An entry is made before a job of the lane becomes visible, and given up only when nothing lies
 * above its floor. Memory is touched when it is first needed, so lanes that nobody has cost none.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "rows/queue.h"
#include "shared/lane_table.h"

#define UNUSED_AFTER USECS_PER_MINUTE /* then the entry of a lane may go to another */

Lanes *lanes;
static LaneQueue **buckets; /* by hash; as many as lanes */
static LaneQueue *queue_memory;
static Lane *lane_memory;

/* ---- shared memory ---- */

Size
lane_shmem_size(void)
{
	return add_size(offsetof(Lanes, holds), hold_shmem_size());
}

Size
lane_table_shmem_size(void)
{
	return mul_size(haul_max_lanes, sizeof(LaneQueue *) + sizeof(LaneQueue) + sizeof(Lane));
}

void
lane_shmem_attach(void *memory, bool found)
{
	bool table_found;

	lanes = memory;
	buckets = ShmemInitStruct("pg_haul lane table", lane_table_shmem_size(), &table_found);
	queue_memory = (LaneQueue *) (buckets + haul_max_lanes);
	lane_memory = (Lane *) (queue_memory + haul_max_lanes);
	if (found)
		return;
	memset(buckets, 0, haul_max_lanes * sizeof(LaneQueue *));
	pg_atomic_init_u64(&lanes->generation, 1);
	pg_atomic_init_u32(&lanes->nholds, 0);
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

/* ---- orders ---- */

int
lane_queue_order(const void *key, const MinNode *node)
{
	const QueuePlace *place = key;
	const LaneQueue *queue = queue_of(node);
	int difference = place->rank - queue->rank;

	if (difference == 0)
		difference = memcmp(place->name, queue->tag.queue, Min(place->length, queue->tag.length));
	return difference != 0 ? difference : place->length - queue->tag.length;
}

int
lane_order(const void *key, const MinNode *node)
{
	return *(const int *) key - lane_of(node)->priority;
}

static int
due_order(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz x = pairingheap_const_container(Lane, due_node, a)->due;
	TimestampTz y = pairingheap_const_container(Lane, due_node, b)->due;

	return (x < y) - (x > y); /* the greatest comes first */
}

/* ---- sets ---- */

LaneSet *
lane_set(Oid database, Oid jobs)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (lanes->sets[i].database == database && lanes->sets[i].jobs == jobs)
			return &lanes->sets[i];
	return NULL;
}

/* The same, made if there is none; NULL when there is no room. The exclusive lock is held. */
static LaneSet *
make_set(Oid database, Oid jobs)
{
	LaneSet *set = lane_set(database, jobs);

	if (set != NULL || (set = lane_set(InvalidOid, InvalidOid)) == NULL)
		return set;
	memset(set, 0, sizeof(LaneSet));
	set->database = database;
	set->jobs = jobs;
	set->dues.ph_compare = due_order;
	dlist_init(&set->unheard);
	dlist_init(&set->sweeps);
	dlist_init(&set->unranked);
	pg_atomic_init_u64(&set->missed, 1); /* nobody has looked yet */
	return set;
}

bool
lane_missed(Oid database, Oid jobs)
{
	LaneSet *set = lane_set(database, jobs);

	return set != NULL && pg_atomic_fetch_add_u64(&set->missed, 1) == set->surveyed;
}

/* ---- queues ---- */

uint32
lane_hash(const LaneTag *tag)
{
	uint32 hash = hash_bytes((const unsigned char *) tag->queue, tag->length);

	hash = hash_combine(hash, murmurhash32(tag->database));
	hash = hash_combine(hash, murmurhash32(tag->jobs));
	return hash;
}

static LaneQueue **
bucket(const LaneTag *tag)
{
	return &buckets[lane_hash(tag) % haul_max_lanes];
}

LaneQueue *
lane_queue(const LaneTag *tag)
{
	LaneQueue *queue = *bucket(tag);

	while (queue != NULL &&
		   (queue->tag.length != tag->length || queue->tag.database != tag->database ||
			queue->tag.jobs != tag->jobs || memcmp(queue->tag.queue, tag->queue, tag->length) != 0))
		queue = queue->next;
	return queue;
}

/* The exclusive lock is held, and there are not more queues than lanes. */
static LaneQueue *
make_queue(const LaneTag *tag, LaneSet *set)
{
	LaneQueue *queue = lane_queue(tag);
	QueuePlace place;

	if (queue != NULL)
		return queue;
	queue = lanes->free_queues;
	if (queue != NULL)
		lanes->free_queues = queue->next;
	else
		queue = &queue_memory[lanes->queues_touched++];
	memset(queue, 0, sizeof(LaneQueue));
	queue->tag = *tag;
	queue->tag.priority = 0;
	queue->set = set;
	queue->rank = HAUL_DEFAULT_QUEUE_PRIORITY;
	queue->next = *bucket(tag);
	*bucket(tag) = queue;
	if (lane_is_expiry(tag))
		return queue;
	queue->node.time = DT_NOEND;
	place = queue_place(queue);
	min_tree_insert(&set->queues, &queue->node, &place, lane_queue_order);
	set->nqueues++;
	if (set->ranking != 0)
	{
		queue->is_unranked = true;
		dlist_push_tail(&set->unranked, &queue->unranked);
	}
	return queue;
}

static void
remove_queue(LaneQueue *queue)
{
	LaneQueue **place = bucket(&queue->tag);

	while (*place != queue)
		place = &(*place)->next;
	*place = queue->next;
	if (queue->is_unranked)
		dlist_delete(&queue->unranked);
	if (!lane_is_expiry(&queue->tag))
	{
		min_tree_remove(&queue->set->queues, &queue->node);
		queue->set->nqueues--;
	}
	queue->set = NULL;
	queue->next = lanes->free_queues;
	lanes->free_queues = queue;
}

/* ---- lanes ---- */

Lane *
lane_find(const LaneTag *tag)
{
	LaneQueue *queue = lane_queue(tag);
	int priority = tag->priority;

	return queue == NULL ? NULL : lane_of(min_tree_find(queue->lanes, &priority, lane_order));
}

void
lane_make_tag(const Lane *lane, LaneTag *tag)
{
	*tag = lane->queue->tag;
	tag->priority = lane->priority;
}

/* The exclusive lock is held. */
static void
remove_lane(Lane *lane)
{
	LaneQueue *queue = lane->queue;
	LaneSet *set = queue->set;

	min_tree_remove(&queue->lanes, &lane->node);
	queue->nlanes--;
	if (!TIMESTAMP_IS_NOEND(lane->due))
		pairingheap_remove(&set->dues, &lane->due_node);
	if (lane->unheard)
		dlist_delete(&lane->unheard_node);
	if (!lane_is_expiry(&queue->tag))
		dlist_delete(&lane->sweep_node);
	lane->queue = NULL;
	lane->next = lanes->free_lanes;
	lanes->free_lanes = lane;
	lanes->nlanes--;
	if (queue->lanes == NULL)
		remove_queue(queue);
	else if (!lane_is_expiry(&queue->tag))
		min_tree_set(&queue->node, min_tree_least(queue->lanes));
}

/* Whether nothing is known to be in the lane, or to come. */
static bool
is_empty(const Lane *lane)
{
	return TIMESTAMP_IS_NOEND(lane->due) && !lane->unheard &&
		   (TIMESTAMP_IS_NOEND(lane->floor.run_at) || lane_is_expiry(&lane->queue->tag));
}

/* Takes the entries of empty lanes that nobody used lately. The exclusive lock is held. */
static void
evict_unused(TimestampTz now)
{
	if (now < lanes->evicted_at + USECS_PER_SEC && now > lanes->evicted_at)
		return;
	lanes->evicted_at = now;
	for (int i = 0; i < lanes->lanes_touched; i++)
	{
		Lane *lane = &lane_memory[i];

		if (lane->queue != NULL && lane->used_at < now - UNUSED_AFTER && is_empty(lane))
			remove_lane(lane);
	}
}

/* The exclusive lock is held. */
static Lane *
make_lane(const LaneTag *tag)
{
	TimestampTz now = GetCurrentTimestamp();
	LaneSet *set;
	Lane *lane = lane_find(tag);

	if (lane != NULL)
		return lane;
	if (lanes->nlanes >= haul_max_lanes)
		evict_unused(now);
	if (lanes->nlanes >= haul_max_lanes || (set = make_set(tag->database, tag->jobs)) == NULL)
		return NULL;
	lane = lanes->free_lanes;
	if (lane != NULL)
		lanes->free_lanes = lane->next;
	else
		lane = &lane_memory[lanes->lanes_touched++];
	memset(lane, 0, sizeof(Lane));
	lanes->nlanes++;
	SpinLockInit(&lane->mutex);
	lane->queue = make_queue(tag, set);
	lane->priority = tag->priority;
	lane->floor = LANE_LOWEST;
	lane->known = lane->node.time = lane->floor.run_at;
	lane->due = DT_NOEND;
	lane->used_at = now;
	lane->swept_at = now;

	/* Newer than any scan under way, which may have missed what others lowered before
	 * there was an entry: none of those may raise. */
	lane->generation = pg_atomic_add_fetch_u64(&lanes->generation, 1);
	lane->lowerings[0].generation = lane->generation;
	lane->lowerings[0].key = LANE_LOWEST;
	lane->nlowerings = 1;

	min_tree_insert(&lane->queue->lanes, &lane->node, &lane->priority, lane_order);
	lane->queue->nlanes++;
	if (lane_is_expiry(tag))
		return lane;
	min_tree_set(&lane->queue->node, min_tree_least(lane->queue->lanes));
	dlist_push_tail(&set->sweeps, &lane->sweep_node);
	return lane;
}

Lane *
lane_find_or_make(const LaneTag *tag)
{
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	lane = lane_find(tag);
	if (lane != NULL)
		return lane;
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	return make_lane(tag);
}

bool
lane_ensure(const LaneTag *tag)
{
	Lane *lane = lane_find_or_make(tag);
	bool made = lane != NULL;

	if (!made)
		(void) lane_missed(tag->database, tag->jobs);
	else
	{
		/* so that it is still there at commit */
		SpinLockAcquire(&lane->mutex);
		lane->used_at = Max(lane->used_at, GetCurrentStatementStartTimestamp());
		SpinLockRelease(&lane->mutex);
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return made;
}

/* At least the shared lock is held. */
static LaneAdmission
admit(const LaneTag *tag)
{
	LaneQueue *queue = lane_queue(tag);
	LaneSet *set;

	if (queue == NULL)
	{
		set = lane_set(tag->database, tag->jobs);
		return set == NULL || set->nqueues < haul_max_queues ? LANE_ADMITTED
															 : LANE_OF_A_QUEUE_TOO_MANY;
	}
	return queue->nlanes < haul_max_lanes_per_queue || lane_find(tag) != NULL ? LANE_ADMITTED
																			  : LANE_TOO_MANY;
}

LaneAdmission
lane_admit(const LaneTag *tag)
{
	LaneAdmission admission;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	admission = admit(tag);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	if (admission == LANE_ADMITTED)
		return admission;
	/* some of them may be empty */
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	evict_unused(GetCurrentTimestamp());
	admission = admit(tag);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return admission;
}

bool
lane_has_room(const LaneTag *tag, bool *is_new)
{
	Lane *lane;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	*is_new = lane_find(tag) == NULL;
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	if (!*is_new)
		return true;
	lane = lane_find_or_make(tag);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return lane != NULL;
}

/* The exclusive lock is held. */
static void
remove_set(LaneSet *set)
{
	for (int i = 0; i < lanes->lanes_touched; i++)
		if (lane_memory[i].queue != NULL && lane_memory[i].queue->set == set)
			remove_lane(&lane_memory[i]);
	set->database = set->jobs = InvalidOid;
}

void
lane_forget(Oid database, Oid but_of)
{
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	for (int i = 0; i < MAX_DATABASES; i++)
		if (lanes->sets[i].database == database && lanes->sets[i].jobs != but_of)
			remove_set(&lanes->sets[i]);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
}

/* ---- surveys ---- */

uint64
lane_survey_begins(void)
{
	LaneSet *set;
	uint64 missed = 0;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	set = make_set(MyDatabaseId, haul_catalog()->jobs);
	if (set != NULL)
		missed = pg_atomic_read_u64(&set->missed);
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	pg_memory_barrier();
	return missed;
}

bool
lane_survey_ends(uint64 begun)
{
	LaneSet *set;
	bool complete = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_EXCLUSIVE);
	set = lane_set(MyDatabaseId, haul_catalog()->jobs);
	if (set != NULL && begun != 0)
	{
		set->surveyed = begun;
		set->surveyed_at = GetCurrentTimestamp();
		complete = pg_atomic_read_u64(&set->missed) == begun;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return complete;
}

bool
lane_survey_state(Oid database, TimestampTz *ended)
{
	bool complete = false;

	*ended = DT_NOBEGIN;
	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		LaneSet *set = &lanes->sets[i];

		if (set->database != database)
			continue;
		complete = pg_atomic_read_u64(&set->missed) == set->surveyed;
		*ended = set->surveyed_at;
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return complete;
}

/* ---- haul.lanes ---- */

static void
show(const Lane *lane, const LaneTag *tag, ReturnSetInfo *result)
{
	Datum values[13];
	bool nulls[13] = {false};
	bool none = lane_key_compare(lane->floor, LANE_LOWEST) == 0;

	values[0] = PointerGetDatum(cstring_to_text_with_len(tag->queue, tag->length));
	values[1] = Int16GetDatum(lane->priority);
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
	values[12] = Int64GetDatum(lane->scans);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Copies the next lane of the set, in any order that lasts; false when there is none. */
static bool
next_to_show(int *place, Oid jobs, Lane *copy, LaneTag *tag)
{
	bool found = false;

	LWLockAcquire(haul_lock(HAUL_LOCK_LANES), LW_SHARED);
	while (!found && *place < lanes->lanes_touched)
	{
		Lane *lane = &lane_memory[(*place)++];

		found = lane->queue != NULL && lane->queue->tag.database == MyDatabaseId &&
				lane->queue->tag.jobs == jobs && !lane_is_expiry(&lane->queue->tag);
		if (!found)
			continue;
		lane_make_tag(lane, tag);
		SpinLockAcquire(&lane->mutex);
		*copy = *lane;
		SpinLockRelease(&lane->mutex);
	}
	LWLockRelease(haul_lock(HAUL_LOCK_LANES));
	return found;
}

PG_FUNCTION_INFO_V1(haul_lanes);

/* The lanes of the current database; none when the server does not preload pg_haul. */
Datum
haul_lanes(PG_FUNCTION_ARGS)
{
	int place = 0;
	Oid jobs;
	Lane lane;
	LaneTag tag;

	InitMaterializedSRF(fcinfo, 0);
	if (!haul_is_preloaded())
		return (Datum) 0;
	jobs = haul_catalog()->jobs;
	while (next_to_show(&place, jobs, &lane, &tag))
		show(&lane, &tag, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
