/*
 * checkout.c: due jobs for a worker, in dispatch order.
 *
 * Queues in the order of the worker's subscription, in each queue the lanes by
 * priority, in each lane the jobs by (run_at, id). What the worker may not take,
 * and what somebody else has locked, is passed over.
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "catalog/pg_type.h"

#include "base/compat.h"
#include "calls/checkout.h"
#include "calls/call.h"
#include "job/transition.h"
#include "journal/lease.h"
#include "rows/job.h"
#include "rows/queue.h"
#include "rows/worker.h"
#include "shared/effects.h"
#include "shared/waiter.h"

#define MAX_JOBS 10000
/* as text, where all jobs of a call go into one value, which could not hold 256 MB */
#define MAX_BYTES (32 * 1024 * 1024)

#define UNDELIVERABLE                                                                              \
	"its args, progress or last_error are too long to be sent to a worker (limit: 32 MB as text)"

/* columns that haul.checkout returns */
static const enum JobColumn returned[] = {
	JOB_ID,		  JOB_CLAIM,	   JOB_QUEUE,		  JOB_KIND,			  JOB_ARGS,
	JOB_PRIORITY, JOB_ATTEMPT,	   JOB_MAX_ATTEMPTS,  JOB_RUN_AT,		  JOB_ENQUEUED_AT,
	JOB_TIMEOUT,  JOB_ON_TIMEOUT,  JOB_INTERRUPTIONS, JOB_INTERRUPTED_AT, JOB_LAST_ERROR,
	JOB_PROGRESS, JOB_WORKFLOW_ID, JOB_CRON_NAME,
};

typedef struct Checkout
{
	Call *call;
	Worker *worker;
	int max_jobs;
	int64 leases[MAX_JOBS / LEASE_MAX_JOBS + 1];
	int64 *ids; /* of the jobs claimed */
	int njobs;
	Size bytes; /* of them, if by latch */
	ReturnSetInfo *result;
} Checkout;

/* ---- which queues, in which order ---- */

static bool
starts_with(const text *name, const text *prefix)
{
	return VARSIZE_ANY_EXHDR(name) >= VARSIZE_ANY_EXHDR(prefix) &&
		   memcmp(VARDATA_ANY(name), VARDATA_ANY(prefix), VARSIZE_ANY_EXHDR(prefix)) == 0;
}

typedef struct RankedQueue
{
	text *name;
	int priority;
	int position; /* among the names */
} RankedQueue;

static int
compare_ranks(const void *a, const void *b)
{
	const RankedQueue *x = a;
	const RankedQueue *y = b;

	return x->priority != y->priority ? x->priority - y->priority : x->position - y->position;
}

/* All queues that have entries, by their priority, then their name. */
static Names
all_queues(JobStore *store, const Worker *worker)
{
	Names queues = {0, NULL};
	int capacity = 16;
	RankedQueue *ranked = palloc(capacity * sizeof(RankedQueue));
	text *name = worker->namespace;

	while (job_store_next_queue(store, name, &name))
	{
		if (worker->namespace != NULL && !starts_with(name, worker->namespace))
			break;
		if (queues.count == capacity)
			ranked = repalloc(ranked, (capacity *= 2) * sizeof(RankedQueue));
		ranked[queues.count].name = name;
		ranked[queues.count].priority = queue_get(name)->priority;
		ranked[queues.count].position = queues.count;
		queues.count++;
	}
	qsort(ranked, queues.count, sizeof(RankedQueue), compare_ranks);
	queues.names = palloc((queues.count + 1) * sizeof(text *));
	for (int i = 0; i < queues.count; i++)
		queues.names[i] = ranked[i].name;
	return queues;
}

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

static Names
queues_in_order(JobStore *store, const Worker *worker)
{
	if (worker->all_queues)
		return all_queues(store, worker);
	return worker->weights != NULL ? drawn_queues(worker) : worker->queues;
}

/* ---- which jobs ---- */

static bool
is_named(Datum name, const Worker *worker)
{
	return name_order(DatumGetTextPP(name), worker->name) == 0;
}

static bool
is_avoided(TupleTableSlot *job, const Worker *worker)
{
	Datum *names;
	bool *nulls;
	int count;

	if (job_is_null(job, JOB_AVOID))
		return false;
	deconstruct_array(DatumGetArrayTypeP(job_value(job, JOB_AVOID)), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i] && is_named(names[i], worker))
			return true;
	return false;
}

/* Whether a ready job is for other workers only, and why. */
static bool
is_for_others(TupleTableSlot *job, const Worker *worker, LaneObstacle *why)
{
	*why = LANE_NOT_ITS_KIND;
	if (!worker->all_kinds &&
		!names_contain(&worker->kinds, DatumGetTextPP(job_value(job, JOB_KIND))))
		return true;
	*why = LANE_NOT_ITS_NAME;
	if (DatumGetBool(job_value(job, JOB_PIN_STRICT)) &&
		(job_is_null(job, JOB_PIN) || !is_named(job_value(job, JOB_PIN), worker)))
		return true;
	return is_avoided(job, worker);
}

/* Whether the worker must say that it begins: when its death would otherwise be
 * held against a job that it may only have fetched. */
static bool
needs_confirmation(TupleTableSlot *job, const Worker *worker)
{
	return worker->confirm_start &&
		   (DatumGetInt16(job_value(job, JOB_INTERRUPTIONS)) > 0 ||
			job_attempt(job) + 1 >= DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)) ||
			!job_says(job, JOB_ON_INTERRUPT, "retry"));
}

static bool
is_full(const Checkout *checkout)
{
	return checkout->njobs == checkout->max_jobs || checkout->bytes >= MAX_BYTES;
}

/* Claims a job for the worker; false when somebody's trigger suppressed it. */
static bool
take(Checkout *checkout, TupleTableSlot *job)
{
	Datum values[lengthof(returned) + 1];
	bool nulls[lengthof(returned) + 1];
	bool confirm = needs_confirmation(job, checkout->worker);
	int64 *lease = &checkout->leases[checkout->njobs / LEASE_MAX_JOBS];
	TupleTableSlot *claimed;

	if (*lease == 0)
		*lease = lease_next_id();
	if (!transition_claim(checkout->call, job, checkout->worker->id, *lease, confirm, &claimed))
		return false;
	checkout->ids[checkout->njobs++] = job_id(job);
	if (checkout_waits_by_latch)
		checkout->bytes += job_longest(job);

	for (int i = 0; i < lengthof(returned); i++)
	{
		values[i] = job_value(claimed, returned[i]);
		nulls[i] = job_is_null(claimed, returned[i]);
	}
	values[lengthof(returned)] = BoolGetDatum(confirm);
	nulls[lengthof(returned)] = false;
	tuplestore_putvalues(checkout->result->setResult, checkout->result->setDesc, values, nulls);
	return true;
}

/* Takes, expires or passes over a ready job. */
static void
consider(Checkout *checkout, TupleTableSlot *job, LaneScan *scan, LaneKey key)
{
	Call *call = checkout->call;
	LaneObstacle why;

	if (is_for_others(job, checkout->worker, &why))
	{
		lane_scan_passed(scan, key, why);
		return;
	}
	/* its end may have to wait for somebody, and a checkout waits for nobody: maintenance sees to
	 * it */
	if (!job_is_null(job, JOB_WORKFLOW_ID) && job_is_expired(job, call->now))
		return;
	switch (job_store_lock(call->store, job, LockWaitSkip))
	{
		case JOB_CHANGED:
			/* since the snapshot: if it can be claimed, whoever changed it lowers the floor */
			break;
		case JOB_BUSY:
			checkout_passed_locked = true;
			lane_scan_passed(scan, key, LANE_BUSY);
			break;
		case JOB_LOCKED:
			if (job_is_expired(job, call->now))
				transition_expire(call, job);
			else if (!job_is_deliverable(job))
				transition_drop(call, job, "failed", CStringGetTextDatum(UNDELIVERABLE));
			else if (take(checkout, job))
				scan->claimed++;
			else
				lane_scan_passed(scan, key, LANE_BUSY);
			break;
	}
}

static void
take_from_lane(Checkout *checkout, text *queue, int priority)
{
	Call *call = checkout->call;
	const Worker *worker = checkout->worker;
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *job = NULL;
	LaneScan scan;

	lane_tag(&scan.tag, queue, priority);
	lane_scan_begin(&scan, call->generation, worker->kinds_filter, worker->name_filter);
	job_store_begin_lane(call->store, queue, priority, scan.from, call->now);
	while (!is_full(checkout) && (job = job_store_next(call->store)) != NULL)
	{
		LaneKey key = {job_run_at(job), job_id(job)};

		call_next_job(call);
		scan.scanned++;
		if (job_says(job, JOB_STATE, "ready"))
			consider(checkout, job, &scan, key);
		scan.reached = (LaneKey){key.run_at, key.id + 1};
		MemoryContextSwitchTo(caller);
	}
	if (job == NULL)
		scan.reached = (LaneKey){call->now, PG_INT64_MAX};
	job_store_end_scan(call->store);
	effects_scanned(&scan);
	effects_claimed(&scan.tag, scan.claimed);
}

static void
take_from_queue(Checkout *checkout, text *queue)
{
	const Worker *worker = checkout->worker;
	int priority = worker->min_priority - 1;

	while (!is_full(checkout) &&
		   job_store_next_priority(checkout->call->store, queue, priority, &priority) &&
		   priority <= worker->max_priority)
		take_from_lane(checkout, queue, priority);
}

/* Looks through the worker's queues. */
static void
look(Checkout *checkout)
{
	Names queues;

	checkout->call = call_open("haul.checkout()");
	queues = queues_in_order(checkout->call->store, checkout->worker);
	for (int i = 0; i < queues.count && !is_full(checkout); i++)
		if (!names_contain(&checkout->worker->exclude, queues.names[i]))
			take_from_queue(checkout, queues.names[i]);
	if (checkout->njobs > 0)
		lease_add(checkout->leases, checkout->worker->id, checkout->ids, checkout->njobs,
				  checkout->call->now);
	call_close(checkout->call);
}

/* Whether the lane has a due job that is ready, for whomever, at the key or above. */
static bool
has_ready_job(Call *call, const LaneTag *tag, LaneKey from)
{
	text *queue = cstring_to_text_with_len(tag->queue, tag->length);
	TupleTableSlot *job;
	LaneScan scan = {.tag = *tag};
	bool found = false;

	lane_scan_begin(&scan, call->generation, 0, 0);
	job_store_begin_lane(call->store, queue, tag->priority, lane_key_max(from, scan.from),
						 call->now);
	while (!found && (job = job_store_next(call->store)) != NULL)
		found = job_says(job, JOB_STATE, "ready");
	job_store_end_scan(call->store);
	return found;
}

/* Whether another worker must be woken in the place of this one, which has looked: what it was
 * woken for may be a job that it may not take, or that it did not come to. */
static bool
others_needed(void)
{
	LaneTag event;
	LaneKey from;
	Call *call;
	bool needed;

	if (!waiter_was_woken(&event, &from) || !waiter_any())
		return false;
	if (event.length == 0)
		return true;
	call = call_open("haul.checkout()");
	needed = has_ready_job(call, &event, from);
	call_close(call);
	return needed;
}

/* There was less than the worker would have taken: it waits for more. */
static void
wait_for_more(Checkout *checkout, uint64 events)
{
	if (!waiter_wait(checkout->worker, checkout_waits_by_latch, events))
		return;
	/* something came meanwhile; what was found already keeps its place before it */
	if (checkout->njobs == 0)
	{
		look(checkout);
		if (is_full(checkout))
			waiter_leave();
	}
	else
		waiter_wake_myself();
}

bool checkout_waits_by_latch = false;
bool checkout_passed_locked = false;

PG_FUNCTION_INFO_V1(haul_checkout);

Datum
haul_checkout(PG_FUNCTION_ARGS)
{
	int64 worker_id = PG_GETARG_INT64(0);
	Checkout checkout = {0};
	uint64 events;

	checkout.max_jobs = PG_GETARG_INT32(1);
	if (checkout.max_jobs < 1 || checkout.max_jobs > MAX_JOBS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_jobs must be between 1 and %d, not %d", MAX_JOBS, checkout.max_jobs)));
	InitMaterializedSRF(fcinfo, 0);
	checkout.result = (ReturnSetInfo *) fcinfo->resultinfo;

	worker_lock(worker_id, AccessShareLock, true);
	checkout.worker = worker_get(worker_id);
	checkout.ids = palloc(checkout.max_jobs * sizeof(int64));

	checkout_passed_locked = false;
	waiter_enter(checkout.worker);
	events = waiter_events();
	look(&checkout);
	waiter_looked(checkout.njobs > 0, others_needed());
	if (!is_full(&checkout))
		wait_for_more(&checkout, events);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(haul_bind_session);

/* The session is one of the worker's: its end may be the worker's end. */
Datum
haul_bind_session(PG_FUNCTION_ARGS)
{
	Worker *worker = worker_find(PG_GETARG_INT64(0));
	bool draining = PG_GETARG_BOOL(1);

	if (worker == NULL)
		PG_RETURN_VOID();
	waiter_bind(worker);
	if (draining && waiter_is_waiting())
		waiter_leave();
	PG_RETURN_VOID();
}

/* The earliest run_at in a lane of a job for the worker; DT_NOEND when there is none. */
static TimestampTz
earliest_in_lane(Call *call, const Worker *worker, text *queue, int priority)
{
	TimestampTz earliest = DT_NOEND;
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *job;
	LaneObstacle why;
	LaneScan scan;

	lane_tag(&scan.tag, queue, priority);
	lane_scan_begin(&scan, call->generation, worker->kinds_filter, worker->name_filter);
	job_store_begin_lane(call->store, queue, priority, scan.from, JOB_LAST_RUN_AT);
	while (TIMESTAMP_IS_NOEND(earliest) && (job = job_store_next(call->store)) != NULL)
	{
		call_next_job(call);
		if (job_says(job, JOB_STATE, "ready") && !is_for_others(job, worker, &why))
			earliest = job_run_at(job);
		MemoryContextSwitchTo(caller);
	}
	job_store_end_scan(call->store);
	return earliest;
}

PG_FUNCTION_INFO_V1(haul_next_due);

Datum
haul_next_due(PG_FUNCTION_ARGS)
{
	Worker *worker = worker_get(PG_GETARG_INT64(0));
	Call *call = call_open("haul.next_due()");
	TimestampTz now = call->now;
	TimestampTz earliest = DT_NOEND;
	Names queues = queues_in_order(call->store, worker);
	Interval *wait;

	for (int i = 0; i < queues.count && earliest > now; i++)
	{
		int priority = worker->min_priority - 1;

		if (names_contain(&worker->exclude, queues.names[i]))
			continue;
		while (earliest > now &&
			   job_store_next_priority(call->store, queues.names[i], priority, &priority) &&
			   priority <= worker->max_priority)
		{
			TimestampTz in_lane = earliest_in_lane(call, worker, queues.names[i], priority);

			earliest = Min(earliest, in_lane);
		}
	}
	call_close(call);

	if (TIMESTAMP_IS_NOEND(earliest))
		PG_RETURN_NULL();
	wait = palloc0(sizeof(Interval));
	wait->time = Max(earliest - now, 0);
	PG_RETURN_INTERVAL_P(wait);
}
