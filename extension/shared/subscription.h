/*
 * subscription.h: what the sessions of workers take, in shared memory.
 *
 * Sessions that take the same share an entry, with a list of those that wait. An index leads from
 * the queue and kind of a job to the entries that may take it, so whom to wake costs what there is
 * to choose from, however many wait for something else.
 *
 * All of it is guarded by HAUL_LOCK_WAITERS, which the callers hold: shared for a scan, exclusively
 * for the rest.
 */
#ifndef HAUL_SUBSCRIPTION_H
#define HAUL_SUBSCRIPTION_H

#include "postgres.h"

#include "lib/ilist.h"

#include "rows/audience.h"
#include "rows/worker.h"
#include "shared/lane.h"

#define SUBSCRIPTION_QUEUES 32
#define SUBSCRIPTION_EXCLUDED 16
#define SUBSCRIPTION_KINDS 128

/* Places in the index: one for each pair of a queue and a kind, if they fit. */
#define SUBSCRIPTION_PLACES 32

struct Subscription;

typedef struct SubscriptionPlace
{
	dlist_node node;
	uint64 key;
	struct Subscription *subscription;
} SubscriptionPlace;

typedef struct Subscription
{
	int sessions; /* that have it; 0: not in use */
	dlist_node node;
	dlist_head waiting; /* of those, the ones that wait: the last to begin first */
	void *woken;		/* the one that was woken last; it may have looked since */

	Oid database;
	uint64 filter; /* of the workers that take this */
	bool vague;	   /* they take less than what stands here */
	bool all_queues;
	bool all_kinds;
	int min_priority;
	int max_priority;
	int prefix_length; /* of the namespace with its dot; 0: none */
	uint64 prefix;
	uint64 realm; /* the namespace up to its first dot */
	int nqueues;
	int nexcluded;
	int nkinds;
	uint64 queues[SUBSCRIPTION_QUEUES];
	uint64 excluded[SUBSCRIPTION_EXCLUDED];
	uint64 kinds[SUBSCRIPTION_KINDS];

	int nplaces;
	SubscriptionPlace places[SUBSCRIPTION_PLACES];
} Subscription;

/* Another session takes what the worker does; it must be left in the end. */
extern Subscription *subscription_join(const Worker *worker);
extern void subscription_leave(Subscription *subscription);

/* Whether the worker takes just this. */
extern bool subscription_is_of(const Subscription *subscription, const Worker *worker);

/* Walks over those that may take jobs of a lane that are for this audience. */
typedef struct SubscriptionScan
{
	const LaneTag *lane;
	const Audience *audience;
	uint64 queue;
	int nkeys;
	int next_key;
	uint64 keys[6];
	dlist_head *list; /* NULL: none yet */
	dlist_node *at;
} SubscriptionScan;

extern void subscription_scan(SubscriptionScan *scan, const LaneTag *lane,
							  const Audience *audience);
extern Subscription *subscription_next(SubscriptionScan *scan);

extern Size subscription_shmem_size(void);
extern void subscription_shmem_attach(void *memory, bool found);

#endif
