/*
 * offer.c: jobs of workers that are lost.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/owner.h"
#include "base/settings.h"
#include "calls/call.h"
#include "calls/offer.h"
#include "job/transition.h"
#include "journal/lease.h"
#include "rows/job.h"
#include "rows/worker.h"
#include "shared/effects.h"

/* ---- offering ---- */

/* Jobs of all open offers, sorted: one that was offered twice is there twice. */
typedef struct OpenOffers
{
	int64 *jobs;
	int count;
} OpenOffers;

/* The elements of an array without nulls; NULL is an empty one. */
static int
elements_of(Datum array, bool isnull, Oid type, Datum **elements)
{
	bool by_value = type == INT4OID || FLOAT8PASSBYVAL;
	int length = type == INT4OID ? sizeof(int32) : sizeof(int64);
	int count = 0;

	*elements = NULL;
	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(array), type, length, by_value,
						  type == INT4OID ? TYPALIGN_INT : TYPALIGN_DOUBLE, elements, NULL, &count);
	return count;
}

static OpenOffers
open_offers(void)
{
	OpenOffers open;
	Datum array;
	bool isnull;
	Datum *elements;

	haul_query_as_owner("SELECT array_agg(job_id ORDER BY job_id) FROM haul._offers", 0, NULL, NULL,
						NULL, &array, &isnull);
	open.count = elements_of(array, isnull, INT8OID, &elements);
	open.jobs = palloc((open.count + 1) * sizeof(int64));
	for (int i = 0; i < open.count; i++)
		open.jobs[i] = DatumGetInt64(elements[i]);
	return open;
}

/* How many offers of the job are open. */
static int
count_offers(const OpenOffers *open, int64 job)
{
	int low = 0;
	int high = open->count;
	int count = 0;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (open->jobs[middle] < job)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + count < open->count && open->jobs[low + count] == job)
		count++;
	return count;
}

/* Whether the job would run again if its worker had died, and all others that it was offered from.
 */
static bool
may_run_again(TupleTableSlot *job, int offers)
{
	return job_says(job, JOB_ON_INTERRUPT, "retry") &&
		   job_attempt(job) + offers < DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)) &&
		   DatumGetInt16(job_value(job, JOB_INTERRUPTIONS)) + offers + 1 < haul_max_interruptions;
}

static void
offer_add(int64 worker, TupleTableSlot *job)
{
	Oid types[] = {INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(worker), job_value(job, JOB_ID), job_value(job, JOB_CLAIM),
					  job_value(job, JOB_STARTED_AT)};

	haul_run_as_owner("INSERT INTO haul._offers (worker_id, job_id, claim, started_at)"
					  " VALUES ($1, $2, $3, $4)"
					  " ON CONFLICT (worker_id, job_id) DO UPDATE SET claim = excluded.claim,"
					  " started_at = excluded.started_at, offered_at = excluded.offered_at",
					  lengthof(values), types, values, NULL);
}

/* Offers a locked job to others; false when it stays where it is. */
static bool
offer(Call *call, TupleTableSlot *job, int64 worker, const OpenOffers *open)
{
	Requeue requeue = {.counter = COUNT_RELEASES};

	if (!job_is_null(job, JOB_STARTED_AT))
	{
		if (!may_run_again(job, count_offers(open, job_id(job))))
			return false;
		offer_add(worker, job);
		requeue.was_started = true;
	}
	(void) transition_requeue(call, job, &requeue);
	return true;
}

#define OFFERING "offering a worker's jobs"

typedef struct Offering
{
	int64 worker;
	OpenOffers open;
} Offering;

static bool
offer_if_held(Call *call, int64 id, void *arg)
{
	Offering *offering = arg;
	TupleTableSlot *job = job_store_find(call->store, id);

	return job != NULL && job_is_held(job, offering->worker) &&
		   job_store_lock(call->store, job, LockWaitSkip) == JOB_LOCKED &&
		   offer(call, job, offering->worker, &offering->open);
}

PG_FUNCTION_INFO_V1(haul_offer);

/* Offers what a lost worker holds, but for what somebody has locked; returns how many jobs. The
 * caller has the worker's exclusive lock. */
Datum
haul_offer(PG_FUNCTION_ARGS)
{
	Offering offering = {.worker = PG_GETARG_INT64(0)};
	Call *call = call_open(OFFERING);
	Lease *leases;
	int nleases = lease_list(offering.worker, &leases);
	int64 offered = 0;

	if (nleases > 0)
		offering.open = open_offers();
	for (int i = 0; i < nleases; i++)
		for (int j = 0; j < leases[i].njobs; j++)
			offered += call_for_job(call, OFFERING, offer_if_held, leases[i].jobs[j], &offering) ==
					   CALL_DONE;
	call_close(call);
	PG_RETURN_INT64(offered);
}

/* ---- the end of an offer ---- */

typedef struct Offer
{
	int64 job;
	int32 claim;
	TimestampTz started_at;
	TimestampTz offered_at;
} Offer;

#define RETURNS_OFFERS                                                                             \
	" RETURNING o.job_id, o.claim, o.started_at, o.offered_at)"                                    \
	" SELECT array_agg(job_id), array_agg(claim), array_agg(started_at),"                          \
	" array_agg(offered_at) FROM gone"

/* The offers that the command, which ends with RETURNS_OFFERS, deletes. */
static int
delete_offers(const char *command, int nargs, Oid *types, Datum *values, Offer **offers)
{
	static const Oid columns[] = {INT8OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum arrays[lengthof(columns)];
	bool nulls[lengthof(columns)];
	Datum *elements[lengthof(columns)];
	int count = 0;

	haul_query_as_owner(command, nargs, types, values, NULL, arrays, nulls);
	for (int i = 0; i < lengthof(columns); i++)
		count = elements_of(arrays[i], nulls[i], columns[i], &elements[i]);
	*offers = palloc((count + 1) * sizeof(Offer));
	for (int i = 0; i < count; i++)
		(*offers)[i] =
			(Offer){DatumGetInt64(elements[0][i]), DatumGetInt32(elements[1][i]),
					DatumGetTimestampTz(elements[2][i]), DatumGetTimestampTz(elements[3][i])};
	return count;
}

/* Whether the job is as the offer left it. */
static bool
is_untaken(TupleTableSlot *job, const Offer *offer)
{
	return job_is(job, JOB_READY) && job_claim(job) == offer->claim;
}

/* Gives the job back to its worker, under the same claim, if nobody has taken it. */
static void
offer_give_back(Call *call, int64 worker, const Offer *offer)
{
	TupleTableSlot *job;
	int64 lease;

	for (;;)
	{
		JobLock lock;

		job = job_store_find(call->store, offer->job);
		if (job == NULL || !is_untaken(job, offer))
			return;
		lock = job_store_lock(call->store, job, LockWaitSkip);
		if (lock == JOB_LOCKED)
			break;
		/* whoever has it locked claims it, most likely */
		if (lock == JOB_BUSY)
			return;
		job_store_renew(call->store);
	}
	lease = lease_next_id();
	transition_resume(call, job, worker, lease, offer->started_at);
	lease_add(&lease, worker, &offer->job, 1, call->now);
}

/* Whether a periodic job has had another run to its end since it was offered. */
static bool
has_run_since(TupleTableSlot *job, const Offer *offer)
{
	return !job_is_null(job, JOB_EVERY) && job_run_at(job) > offer->offered_at;
}

/* The worker died with the job. */
static bool
charge(Call *call, int64 id, void *arg)
{
	const Offer *offer = arg;
	TupleTableSlot *job = job_store_find(call->store, id);

	if (job == NULL || has_run_since(job, offer) ||
		job_store_lock(call->store, job, LockWaitSkip) != JOB_LOCKED)
		return false;
	transition_charge(call, job, offer->offered_at);
	return true;
}

static bool
is_found_again(int64 worker)
{
	Oid type = INT8OID;
	Datum id = Int64GetDatum(worker);

	return worker_lock(worker, AccessExclusiveLock, false) &&
		   haul_run_as_owner("UPDATE haul.workers SET lost_at = NULL"
							 " WHERE id = $1 AND lost_at IS NOT NULL",
							 1, &type, &id, NULL) > 0;
}

#define ENDING "ending a worker's offers"

void
offer_end(int64 worker, OfferEnd how)
{
	Oid type = INT8OID;
	Datum id = Int64GetDatum(worker);
	Offer *offers;
	int count;
	Call *call;

	if (how == OFFER_WORKER_RETURNED && !is_found_again(worker))
		return;
	/* one that is locked is being taken back by a call about that job */
	count = delete_offers(
		"WITH free AS (SELECT job_id FROM haul._offers WHERE worker_id = $1"
		" FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM haul._offers AS o"
		" USING free WHERE o.worker_id = $1 AND o.job_id = free.job_id" RETURNS_OFFERS,
		1, &type, &id, &offers);
	if (count == 0)
		return;
	call = call_open(ENDING);
	for (int i = 0; i < count; i++)
	{
		call_next_job(call);
		if (how == OFFER_WORKER_RETURNED)
			offer_give_back(call, worker, &offers[i]);
		else
			(void) call_for_job(call, ENDING, charge, offers[i].job, &offers[i]);
	}
	call_close(call);
}

bool
offer_take_back(Call *call, int64 worker, int64 id, int32 claim)
{
	Oid types[] = {INT8OID, INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(worker), Int64GetDatum(id), Int32GetDatum(claim)};
	Offer *offers;

	if (delete_offers("WITH gone AS (DELETE FROM haul._offers AS o"
					  " WHERE worker_id = $1 AND job_id = $2 AND claim = $3" RETURNS_OFFERS,
					  lengthof(values), types, values, &offers) == 0)
		return false;
	job_store_renew(call->store);
	offer_give_back(call, worker, &offers[0]);
	job_store_renew(call->store);
	return true;
}
