/*
 * subscription.c: what the sessions of workers take, in shared memory.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/names.h"
#include "shared/subscription.h"

#define BUCKETS 1024
#define ANYTHING 0 /* instead of a queue, or a kind */

typedef struct Subscriptions
{
	dlist_head used;
	dlist_head buckets[BUCKETS]; /* of places */
	Subscription all[FLEXIBLE_ARRAY_MEMBER];
} Subscriptions;

static Subscriptions *subscriptions;

Size
subscription_shmem_size(void)
{
	/* a session has one at most */
	return offsetof(Subscriptions, all) + mul_size(MaxBackends, sizeof(Subscription));
}

void
subscription_shmem_attach(void *memory, bool found)
{
	subscriptions = memory;
	if (found)
		return;
	dlist_init(&subscriptions->used);
	for (int i = 0; i < BUCKETS; i++)
		dlist_init(&subscriptions->buckets[i]);
}

/* ---- the index ---- */

static uint64
index_key(Oid database, uint64 queue, uint64 kind)
{
	return hash_combine64(hash_combine64(database, queue), kind);
}

static dlist_head *
bucket_of(uint64 key)
{
	return &subscriptions->buckets[key % BUCKETS];
}

static void
add_place(Subscription *subscription, uint64 queue, uint64 kind)
{
	SubscriptionPlace *place = &subscription->places[subscription->nplaces++];

	place->key = index_key(subscription->database, queue, kind);
	place->subscription = subscription;
	dlist_push_tail(bucket_of(place->key), &place->node);
}

/* By queue and kind; where that is too much, by one of the two. */
static void
subscription_index(Subscription *subscription)
{
	uint64 everywhere[] = {subscription->realm != 0 ? subscription->realm : ANYTHING};
	uint64 everything[] = {ANYTHING};
	const uint64 *queues = subscription->all_queues ? everywhere : subscription->queues;
	const uint64 *kinds = subscription->all_kinds ? everything : subscription->kinds;
	int nqueues = subscription->all_queues ? 1 : subscription->nqueues;
	int nkinds = subscription->all_kinds ? 1 : subscription->nkinds;

	if (nqueues * nkinds > SUBSCRIPTION_PLACES)
	{
		if (nkinds <= SUBSCRIPTION_PLACES)
		{
			queues = everything;
			nqueues = 1;
		}
		else
		{
			kinds = everything;
			nkinds = 1;
		}
	}
	for (int i = 0; i < nqueues; i++)
		for (int j = 0; j < nkinds; j++)
			add_place(subscription, queues[i], kinds[j]);
}

static void
subscription_unindex(Subscription *subscription)
{
	while (subscription->nplaces > 0)
		dlist_delete(&subscription->places[--subscription->nplaces].node);
}

/* ---- what there is ---- */

/* The namespace of a name up to its first dot; ANYTHING if it has none. */
static uint64
realm_of(const char *name, int length)
{
	const char *dot = memchr(name, '.', length);

	return dot == NULL ? ANYTHING : name_hash_bytes(name, dot - name + 1, 1);
}

static int
hash_all(const Names *names, uint64 *hashes, int room)
{
	int count = Min(names->count, room);

	for (int i = 0; i < count; i++)
		hashes[i] = name_hash(names->names[i], 0);
	return count;
}

static void
describe(Subscription *subscription, const Worker *worker)
{
	subscription->database = MyDatabaseId;
	subscription->filter = worker->subscription_filter;
	subscription->all_queues = worker->all_queues || worker->queues.count > SUBSCRIPTION_QUEUES;
	subscription->all_kinds = worker->all_kinds || worker->kinds.count > SUBSCRIPTION_KINDS;
	subscription->vague = subscription->all_queues != worker->all_queues ||
						  subscription->all_kinds != worker->all_kinds ||
						  worker->exclude.count > SUBSCRIPTION_EXCLUDED;
	subscription->min_priority = worker->min_priority;
	subscription->max_priority = worker->max_priority;
	subscription->prefix_length = 0;
	subscription->realm = ANYTHING;
	if (worker->namespace != NULL)
	{
		const char *prefix = VARDATA_ANY(worker->namespace);

		subscription->prefix_length = VARSIZE_ANY_EXHDR(worker->namespace);
		subscription->prefix = name_hash_bytes(prefix, subscription->prefix_length, 0);
		subscription->realm = realm_of(prefix, subscription->prefix_length);
	}
	subscription->nqueues = hash_all(&worker->queues, subscription->queues, SUBSCRIPTION_QUEUES);
	subscription->nexcluded =
		hash_all(&worker->exclude, subscription->excluded, SUBSCRIPTION_EXCLUDED);
	subscription->nkinds = hash_all(&worker->kinds, subscription->kinds, SUBSCRIPTION_KINDS);
}

bool
subscription_is_of(const Subscription *subscription, const Worker *worker)
{
	return subscription->filter == worker->subscription_filter &&
		   subscription->database == MyDatabaseId;
}

static Subscription *
find(const Worker *worker)
{
	dlist_iter iter;

	dlist_foreach(iter, &subscriptions->used)
	{
		Subscription *subscription = dlist_container(Subscription, node, iter.cur);

		if (subscription_is_of(subscription, worker))
			return subscription;
	}
	return NULL;
}

static Subscription *
make(const Worker *worker)
{
	Subscription *subscription = &subscriptions->all[0];

	while (subscription->sessions > 0)
		subscription++;
	dlist_init(&subscription->waiting);
	subscription->woken = NULL;
	describe(subscription, worker);
	dlist_push_tail(&subscriptions->used, &subscription->node);
	subscription_index(subscription);
	return subscription;
}

Subscription *
subscription_join(const Worker *worker)
{
	Subscription *subscription = find(worker);

	if (subscription == NULL)
		subscription = make(worker);
	subscription->sessions++;
	return subscription;
}

void
subscription_leave(Subscription *subscription)
{
	if (--subscription->sessions > 0)
		return;
	Assert(dlist_is_empty(&subscription->waiting));
	subscription_unindex(subscription);
	dlist_delete(&subscription->node);
}

/* ---- who may take what ---- */

static bool
is_among(const uint64 *hashes, int count, uint64 hash)
{
	for (int i = 0; i < count; i++)
		if (hashes[i] == hash)
			return true;
	return false;
}

static bool
takes_queue(const Subscription *subscription, const LaneTag *lane, uint64 queue)
{
	int prefix = subscription->prefix_length;

	if (is_among(subscription->excluded, subscription->nexcluded, queue))
		return false;
	if (!subscription->all_queues)
		return is_among(subscription->queues, subscription->nqueues, queue);
	return prefix == 0 || (lane->length > prefix &&
						   name_hash_bytes(lane->queue, prefix, 0) == subscription->prefix);
}

static bool
takes(const Subscription *subscription, const SubscriptionScan *scan)
{
	const LaneTag *lane = scan->lane;
	uint64 kind = scan->audience->kind;

	return subscription->database == lane->database &&
		   lane->priority >= subscription->min_priority &&
		   lane->priority <= subscription->max_priority &&
		   (kind == 0 || subscription->all_kinds ||
			is_among(subscription->kinds, subscription->nkinds, kind)) &&
		   takes_queue(subscription, lane, scan->queue);
}

void
subscription_scan(SubscriptionScan *scan, const LaneTag *lane, const Audience *audience)
{
	uint64 realm = realm_of(lane->queue, lane->length);
	uint64 queues[3] = {0, ANYTHING, realm};

	scan->lane = lane;
	scan->audience = audience;
	scan->queue = queues[0] = name_hash_bytes(lane->queue, lane->length, 0);
	scan->nkeys = scan->next_key = 0;
	scan->list = NULL;
	if (audience->kind == 0)
	{
		scan->list = &subscriptions->used;
		scan->at = &scan->list->head;
		return;
	}
	for (int i = 0; i < (realm != ANYTHING ? 3 : 2); i++)
	{
		scan->keys[scan->nkeys++] = index_key(lane->database, queues[i], audience->kind);
		scan->keys[scan->nkeys++] = index_key(lane->database, queues[i], ANYTHING);
	}
}

/* The next one in the list, or in the part of the index for the next key. */
static Subscription *
next_candidate(SubscriptionScan *scan)
{
	for (;;)
	{
		SubscriptionPlace *place;

		while (scan->list == NULL || !dlist_has_next(scan->list, scan->at))
		{
			if (scan->next_key == scan->nkeys)
				return NULL;
			scan->list = bucket_of(scan->keys[scan->next_key++]);
			scan->at = &scan->list->head;
		}
		scan->at = dlist_next_node(scan->list, scan->at);
		if (scan->nkeys == 0)
			return dlist_container(Subscription, node, scan->at);
		place = dlist_container(SubscriptionPlace, node, scan->at);
		if (place->key == scan->keys[scan->next_key - 1])
			return place->subscription;
	}
}

Subscription *
subscription_next(SubscriptionScan *scan)
{
	Subscription *subscription;

	while ((subscription = next_candidate(scan)) != NULL)
		if (takes(subscription, scan))
			return subscription;
	return NULL;
}
