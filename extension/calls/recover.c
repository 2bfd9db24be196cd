/*
 * recover.c: jobs taken back from workers that are gone, or that lost track of them.
 *
 * What a worker holds is in its leases, so the work is proportional to that and
 * not to the backlog.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"

#include "base/compat.h"
#include "base/arguments.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "calls/call.h"
#include "calls/life.h"
#include "calls/offer.h"
#include "calls/recover.h"
#include "job/transition.h"
#include "journal/lease.h"
#include "rows/job.h"
#include "rows/worker.h"
#include "shared/effects.h"
#include "shared/waiter.h"

#define MAX_SESSIONS 64 /* of one worker, that it pays to know */

/* Jobs released by the trigger since unregister_worker() last looked. */
static int64 released_by_trigger = 0;

#define RECOVERY "releasing a worker's jobs"

/* What is taken back of a lease. */
typedef struct Recovery
{
	int64 worker;
	int64 lease;
	bool all;	 /* that the worker held */
	int settled; /* jobs of the lease that are counted, or will be */
} Recovery;

static bool
recover(Call *call, int64 id, void *arg)
{
	Recovery *recovery = arg;
	TupleTableSlot *job = job_store_find(call->store, id);
	bool of_lease;

	if (job == NULL || !job_is_held(job, recovery->worker))
		return false;
	/* Locked by a transaction that ends it, say. If that rolls back, maintenance finds the
	 * lease without a worker. */
	if (job_store_lock(call->store, job, LockWaitSkip) != JOB_LOCKED)
	{
		recovery->all = false;
		return false;
	}
	of_lease = DatumGetInt64(job_value(job, JOB_LEASE_ID)) == recovery->lease;
	transition_interrupt(call, job, true);
	recovery->settled += of_lease;
	return true;
}

int64
recover_jobs_of(int64 worker)
{
	Call *call = call_open(RECOVERY);
	Lease *leases;
	int nleases = lease_list(worker, &leases);
	int64 released = 0;

	for (int i = 0; i < nleases; i++)
	{
		Recovery recovery = {worker, leases[i].id, true, leases[i].done};

		for (int j = 0; j < leases[i].njobs; j++)
		{
			Recovery before = recovery;

			switch (call_for_job(call, RECOVERY, recover, leases[i].jobs[j], &recovery))
			{
				case CALL_DONE:
					released++;
					break;
				case CALL_NOTHING:
					break;
				case CALL_FAILED:
					recovery = before;
					recovery.all = false;
					break;
			}
		}
		/* The worker holds none of them any more, whatever was counted. */
		if (recovery.all && recovery.settled < leases[i].njobs)
			ledger_settle(call->ledger, leases[i].id, leases[i].njobs - recovery.settled);
	}
	call_close(call);
	return released;
}

PG_FUNCTION_INFO_V1(haul_release_orphans);

/* Releases what is held by workers that have no row any more; returns how many jobs. */
Datum
haul_release_orphans(PG_FUNCTION_ARGS)
{
	int64 *workers;
	int nworkers = lease_workers(&workers);
	int64 released = 0;

	for (int i = 0; i < nworkers; i++)
		if (worker_find(workers[i]) == NULL)
			released += recover_jobs_of(workers[i]);
	PG_RETURN_INT64(released);
}

PG_FUNCTION_INFO_V1(haul_release_worker);

/* AFTER DELETE FOR EACH ROW on haul.workers. */
Datum
haul_release_worker(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	int64 worker;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != haul_catalog()->workers)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("haul._release_worker() is the trigger of DELETE on haul.workers")));
	worker = worker_id_of(trigger->tg_trigtuple, trigger->tg_relation);

	/* The row is deleted: whoever comes for the shared lock after us finds no worker. */
	worker_lock(worker, AccessExclusiveLock, true);
	released_by_trigger += recover_jobs_of(worker);
	offer_end(worker, OFFER_WORKER_DIED);
	effects_worker_gone(worker);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(haul_unregister_worker);

Datum
haul_unregister_worker(PG_FUNCTION_ARGS)
{
	Oid type = INT8OID;
	Datum worker = PG_GETARG_DATUM(0);
	Worker *row;

	PreventCommandDuringRecovery("haul.unregister_worker()");
	/* it calls, so it lives: nothing of what was offered is charged */
	row = worker_find(DatumGetInt64(worker));
	if (row != NULL)
		worker_refuse_others(row);
	if (row != NULL && row->is_lost)
		offer_end(row->id, OFFER_WORKER_RETURNED);
	released_by_trigger = 0;
	if (haul_run_as_owner("DELETE FROM haul.workers WHERE id = $1", 1, &type, &worker, NULL) == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(released_by_trigger);
}

/* The job, locked, if the worker holds it and it is none of those that it knows; NULL if not. */
static TupleTableSlot *
lock_unknown(Call *call, int64 worker, int64 id, const NamedJob *known, int nknown)
{
	TupleTableSlot *job;

	/* waits for whoever has it locked: nobody else would take it back while the worker lives */
	do
	{
		NamedJob key = {.id = id};

		job = job_store_find(call->store, id);
		if (job == NULL || !job_is_held(job, worker))
			return NULL;
		key.claim = job_claim(job);
		if (bsearch(&key, known, nknown, sizeof(NamedJob), named_job_compare) != NULL)
			return NULL;
	} while (job_store_lock(call->store, job, LockWaitBlock) != JOB_LOCKED);
	return job;
}

PG_FUNCTION_INFO_V1(haul_reconcile);

Datum
haul_reconcile(PG_FUNCTION_ARGS)
{
	int64 worker = PG_GETARG_INT64(0);
	NamedJob *known;
	int nknown = arguments_jobs(fcinfo, &known);
	Worker *row;
	Call *call;
	Lease *leases;
	int nleases;
	int64 released = 0;

	PreventCommandDuringRecovery("haul.reconcile()");
	life_sign(worker);
	/* A checkout that the worker gave up, but the server did not, ends first. */
	worker_lock(worker, AccessExclusiveLock, true);
	row = worker_find(worker);
	if (row != NULL)
	{
		waiter_bind(row, false);
		if (row->is_lost)
			offer_end(worker, OFFER_WORKER_RETURNED);
	}
	call = call_open("haul.reconcile()");
	nleases = lease_list(worker, &leases);
	for (int i = 0; i < nleases; i++)
		for (int j = 0; j < leases[i].njobs; j++)
		{
			Requeue requeue = {.counter = COUNT_RELEASES};
			TupleTableSlot *job;

			call_next_job(call);
			job = lock_unknown(call, worker, leases[i].jobs[j], known, nknown);
			if (job == NULL)
				continue;
			(void) transition_requeue(call, job, &requeue);
			released++;
		}
	call_close(call);
	PG_RETURN_INT64(released);
}

PG_FUNCTION_INFO_V1(haul_backends);

/* Processes that serve sessions of the worker's own. */
Datum
haul_backends(PG_FUNCTION_ARGS)
{
	int pids[MAX_SESSIONS];
	Datum elements[MAX_SESSIONS];
	int count = waiter_backends(MyDatabaseId, PG_GETARG_INT64(0), pids, lengthof(pids));

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(pids[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}
