/*
 * checkout.c: due jobs for a worker, in dispatch order.
 *
 * The lanes come in dispatch order (dispatch_order.h), in each lane the jobs by
 * (run_at, id). What the worker may not take, and what somebody else has locked, is
 * passed over.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "catalog/pg_type.h"

#include "base/compat.h"
#include "calls/checkout.h"
#include "calls/dispatch_order.h"
#include "calls/call.h"
#include "calls/life.h"
#include "calls/offer.h"
#include "job/ready_work.h"
#include "job/transition.h"
#include "journal/lease.h"
#include "rows/job.h"
#include "rows/worker.h"
#include "shared/effects.h"
#include "shared/waiter.h"

#define MAX_JOBS 10000
/* as text, where all jobs of a call go into one value, which could not hold 256 MB */
#define MAX_BYTES (32 * 1024 * 1024)

#define UNDELIVERABLE                                                                              \
	"its args, progress or last_error are too long to be sent to a worker (limit: 32 MB as text)"
#define LOOKS_AHEAD 64
#define MAX_REFUSED 500

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
	Size bytes;	 /* of them, if by latch */
	int refused; /* jobs ended on the way; no more than MAX_REFUSED */
	bool left;	 /* a lane was left for another call, since there were more of these */
	ReturnSetInfo *result;
} Checkout;

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

/* Claims a job for the worker, if nobody has it locked. */
static JobLock
take(Checkout *checkout, TupleTableSlot *job)
{
	Datum values[lengthof(returned) + 1];
	bool nulls[lengthof(returned) + 1];
	bool confirm = needs_confirmation(job, checkout->worker);
	int64 *lease = &checkout->leases[checkout->njobs / LEASE_MAX_JOBS];
	TupleTableSlot *claimed;
	JobLock lock;

	if (*lease == 0)
		*lease = lease_next_id();
	lock = transition_claim(checkout->call, job, checkout->worker->id, *lease, confirm, &claimed);
	if (lock != JOB_LOCKED)
		return lock;
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
	return JOB_LOCKED;
}

/* Ends a ready job that is not to be handed out: it expired, or cannot be delivered. */
static JobLock
refuse(Call *call, TupleTableSlot *job)
{
	JobLock lock = job_store_lock(call->store, job, LockWaitSkip);

	if (lock != JOB_LOCKED)
		return lock;
	if (job_is_expired(job, call->now))
		transition_expire(call, job);
	else
		transition_drop(call, job, JOB_FAILED, CStringGetTextDatum(UNDELIVERABLE));
	return JOB_LOCKED;
}

/* Takes, expires or passes over a ready job. False when the rest of the lane is left for another
 * call. */
static bool
consider(Checkout *checkout, TupleTableSlot *job, LaneScan *scan, LaneKey key)
{
	Call *call = checkout->call;
	LaneObstacle why;
	bool refused;

	if (is_for_others(job, checkout->worker, &why))
	{
		lane_scan_passed(scan, key, why);
		return true;
	}
	refused = job_is_expired(job, call->now);
	/* its end may have to wait for somebody, and a checkout waits for nobody: maintenance sees to
	 * it */
	if (!job_is_null(job, JOB_WORKFLOW_ID) && refused)
		return true;
	refused = refused || !job_is_deliverable(job);
	if (refused && checkout->refused == MAX_REFUSED)
	{
		checkout->left = true;
		return false;
	}
	switch (refused ? refuse(call, job) : take(checkout, job))
	{
		case JOB_LOCKED:
			if (refused)
				checkout->refused++;
			else
				scan->claimed++;
			break;
		case JOB_CHANGED:
			/* since the snapshot: if it can be claimed, whoever changed it lowers the floor */
			break;
		case JOB_BUSY:
			checkout_passed_locked = true;
			lane_scan_passed(scan, key, LANE_BUSY);
			break;
		case JOB_SUPPRESSED:
			lane_scan_passed(scan, key, LANE_BUSY);
			break;
	}
	return true;
}

/* Where the first job stands that is to come, so that checkouts need not come by until then. Looks
 * at a few entries only: where those of many dead rows lie in between, the next time goes on
 * behind. */
static LaneKey
first_to_come(Call *call, text *queue, int priority)
{
	MemoryContext caller = CurrentMemoryContext;
	LaneKey from = {call->now, PG_INT64_MAX};
	LaneKey key = from;
	TupleTableSlot *job;
	bool found = false;
	int looks = 0;

	call_next_job(call);
	job_store_begin_entries(call->store, queue, priority, from, JOB_LAST_RUN_AT);
	while (!found && looks < LOOKS_AHEAD && job_store_next_entry(call->store, &key, &job))
	{
		looks++;
		found = job != NULL && job_is(job, JOB_READY);
	}
	job_store_end_scan(call->store);
	MemoryContextSwitchTo(caller);
	return found || looks == LOOKS_AHEAD ? key : LANE_HIGHEST;
}

static void
take_from_lane(Checkout *checkout, const LaneTag *tag, text *queue)
{
	Call *call = checkout->call;
	const Worker *worker = checkout->worker;
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *job = NULL;
	bool stay = true;
	LaneScan scan;

	scan.tag = *tag;
	lane_scan_begin(&scan, call->generation, worker->kinds_filter, worker->name_filter);
	job_store_begin_lane(call->store, queue, tag->priority, scan.from, call->now);
	while (stay && !is_full(checkout) && (job = job_store_next(call->store)) != NULL)
	{
		LaneKey key = {job_run_at(job), job_id(job)};

		call_next_job(call);
		scan.scanned++;
		if (job_is(job, JOB_READY))
			stay = consider(checkout, job, &scan, key);
		if (stay)
			scan.reached = (LaneKey){key.run_at, key.id + 1};
		MemoryContextSwitchTo(caller);
	}
	job_store_end_scan(call->store);
	if (job == NULL)
		scan.reached = scan.has_floor ? first_to_come(call, queue, tag->priority)
									  : (LaneKey){call->now, PG_INT64_MAX};
	effects_scanned(&scan);
	effects_claimed(&scan.tag, scan.claimed);
}

/* Looks through the worker's queues. */
static void
look(Checkout *checkout)
{
	DispatchOrder *order;
	LaneTag tag;
	text *queue;

	checkout->call = call_open("haul.checkout()");
	order = dispatch_order_begin(checkout->call, checkout->worker, checkout->call->now);
	while (!is_full(checkout) && dispatch_order_next(order, &tag, &queue))
		take_from_lane(checkout, &tag, queue);
	if (is_full(checkout))
		dispatch_order_leave(order);
	if (checkout->njobs > 0)
		lease_add(checkout->leases, checkout->worker->id, checkout->ids, checkout->njobs,
				  checkout->call->now);
	call_close(checkout->call);
}

/* The look is over: what this session was called for and others may be needed for, because there
 * was too much of it or it is not for this worker, is passed on as far as it is still there. */
static void
pass_on_what_is_left(const Checkout *checkout)
{
	WaiterCall calls[WAITER_CALLS];
	int ncalls = waiter_looked(!is_full(checkout) && !checkout->left, calls);
	Call *call;

	if (ncalls == 0)
		return;
	call = call_open("haul.checkout()");
	for (int i = 0; i < ncalls; i++)
	{
		Work left[READY_AUDIENCES + 1];
		int count = ready_work(call->store, &calls[i].work, call->now, left);

		for (int j = 0; j < count; j++)
			waiter_pass_on(&left[j], calls[i].sequence);
	}
	call_close(call);
	waiter_passed_on(calls, ncalls);
}

/* Waits for more, if there was less than the worker would have taken. */
static void
wait_for_more(Checkout *checkout, uint64 events)
{
	int room = checkout->max_jobs - checkout->njobs;
	bool again = false;

	if (!is_full(checkout))
		again = waiter_wait(checkout->worker, checkout_waits_by_latch, room, events);
	/* something came meanwhile; what was found already keeps its place before it */
	if (again && checkout->njobs == 0 && !checkout->left)
	{
		look(checkout);
		pass_on_what_is_left(checkout);
		again = false;
	}
	if (is_full(checkout))
		waiter_leave();
	else if (again || checkout->left)
		waiter_wake_myself();
}

bool checkout_waits_by_latch = false;
bool checkout_passed_locked = false;
bool checkout_left_jobs = false;

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
	PreventCommandDuringRecovery("haul.checkout()");
	InitMaterializedSRF(fcinfo, 0);
	checkout.result = (ReturnSetInfo *) fcinfo->resultinfo;

	/* while it waits here, the worker itself says nothing */
	if (!checkout_waits_by_latch)
		life_sign(worker_id);
	worker_lock(worker_id, AccessShareLock, true);
	checkout.worker = worker_get(worker_id);
	if (checkout.worker->is_lost)
		offer_end(worker_id, OFFER_WORKER_RETURNED);
	checkout.ids = palloc(checkout.max_jobs * sizeof(int64));

	checkout_passed_locked = false;
	waiter_enter(checkout.worker);
	events = waiter_events();
	look(&checkout);
	pass_on_what_is_left(&checkout);
	wait_for_more(&checkout, events);
	checkout_left_jobs = checkout.left;
	return (Datum) 0;
}

/* The earliest run_at in a lane of a job for the worker; DT_NOEND when there is none. */
static TimestampTz
earliest_in_lane(Call *call, const Worker *worker, const LaneTag *tag, text *queue)
{
	TimestampTz earliest = DT_NOEND;
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *job;
	LaneScan scan;

	scan.tag = *tag;
	lane_scan_begin(&scan, call->generation, worker->kinds_filter, worker->name_filter);
	scan.reached = LANE_HIGHEST;
	job_store_begin_lane(call->store, queue, tag->priority, scan.from, JOB_LAST_RUN_AT);
	while (TIMESTAMP_IS_NOEND(earliest) && (job = job_store_next(call->store)) != NULL)
	{
		LaneKey key = {job_run_at(job), job_id(job)};
		LaneObstacle why;

		call_next_job(call);
		if (!job_is(job, JOB_READY))
			;
		else if (is_for_others(job, worker, &why))
			lane_scan_passed(&scan, key, why);
		else
		{
			earliest = key.run_at;
			scan.reached = key;
		}
		MemoryContextSwitchTo(caller);
	}
	job_store_end_scan(call->store);
	effects_scanned(&scan);
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
	/* only lanes where there may be something earlier than what was found elsewhere */
	DispatchOrder *order = dispatch_order_begin(call, worker, JOB_LAST_RUN_AT);
	Interval *wait;
	LaneTag tag;
	text *queue;

	while (earliest > now && dispatch_order_next(order, &tag, &queue))
	{
		TimestampTz in_lane = earliest_in_lane(call, worker, &tag, queue);

		if (in_lane < earliest)
			dispatch_order_narrow(order, (earliest = in_lane) - 1);
	}
	call_close(call);

	if (TIMESTAMP_IS_NOEND(earliest))
		PG_RETURN_NULL();
	wait = palloc0(sizeof(Interval));
	wait->time = Max(earliest - now, 0);
	PG_RETURN_INTERVAL_P(wait);
}
