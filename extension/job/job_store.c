/*
 * job_store.c: haul.jobs through the table and index access methods.
 *
 * The only file that does so. A claim is an index scan and a HOT update; a completion is an index
 * probe and a delete: no parser, no planner, no executor, so no plan that can flip.
 *
 * Direct access fires no triggers. Where somebody else's row trigger, or a
 * foreign key, which is made of triggers, stands on haul.jobs, or a check or a
 * generated column, changes take the executor's road instead, which heeds them. Statement triggers
 * of others are not fired for the queue's own changes.
 *
 * Rows are changed only in the version that was read and checked. That makes the
 * result right under any isolation level, and it is why the snapshot may be
 * newer than the transaction's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/additions.h"
#include "base/catalog.h"
#include "job/job_store.h"
#include "rows/job.h"

/* columns of the index jobs_ready */
enum ReadyColumn
{
	READY_QUEUE = 1,
	READY_PRIORITY,
	READY_RUN_AT,
	READY_ID,
};

struct JobStore
{
	Relation heap;
	Relation by_id;	  /* jobs_pkey */
	Relation ready;	  /* jobs_ready; opened when needed, as are the rest */
	Relation expires; /* jobs_expires */
	Snapshot snapshot;
	MemoryContext context; /* of the store and all it makes */

	IndexScanDesc probe;	 /* on by_id */
	TupleTableSlot *found;	 /* what the probe found */
	IndexScanDesc scan;		 /* on ready or expires */
	ScanKeyData from[2];	 /* its lower end, a row comparison */
	Snapshot scan_snapshot;	 /* outlives a renewal of the other */
	TupleTableSlot *scanned; /* where the scan is */
	TupleTableSlot *locked;	 /* scratch for locking */
	TupleTableSlot *edited;	 /* the new version of a row */

	bool through_executor; /* take the executor's road */
	EState *estate;		   /* for index entries and triggers; made when needed */
	ResultRelInfo *relation;
};

static int64 writing = 0; /* id of the job on the executor's road, or 0 */

bool
job_store_is_writing(int64 id)
{
	return writing == id;
}

/* Whether somebody else's trigger wants to know of changes to single rows. */
static bool
has_foreign_triggers(Relation heap)
{
	TriggerDesc *triggers = heap->trigdesc;
	Oid *functions = palloc((triggers != NULL ? triggers->numtriggers : 0) * sizeof(Oid) + 1);
	int count = 0;
	Oid ours;
	bool found = false;

	/* the description may move when something is looked up */
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_ROW(trigger->tgtype) && trigger->tgenabled != TRIGGER_DISABLED &&
			(TRIGGER_FOR_UPDATE(trigger->tgtype) || TRIGGER_FOR_DELETE(trigger->tgtype)))
			functions[count++] = trigger->tgfoid;
	}
	ours = haul_catalog()->schema;
	for (int i = 0; i < count && !found; i++)
		found = get_func_namespace(functions[i]) != ours;
	pfree(functions);
	return found;
}

/* What the executor needs to insert index entries and to fire triggers. */
static void
prepare_executor(JobStore *store)
{
	Bitmapset *changed = NULL;
	MemoryContext caller;

	if (store->estate != NULL)
		return;
	caller = MemoryContextSwitchTo(store->context);

	/* any of these may be changed; id, and who enqueued what and when, never */
	for (int column = JOB_QUEUE; column < JOB_COLUMNS; column++)
		if (column != JOB_ENQUEUED_AT && column != JOB_ENQUEUED_BY)
			changed = bms_add_member(changed, column_number(&job_columns, column) -
												  FirstLowInvalidHeapAttributeNumber);

	store->estate = CreateExecutorState();
	haul_init_range_table(store->estate, store->heap, changed);
	store->estate->es_snapshot = store->snapshot;
	store->relation = makeNode(ResultRelInfo);
	InitResultRelInfo(store->relation, store->heap, 1, NULL, 0);
	ExecOpenIndices(store->relation, false);
	if (store->through_executor)
		AfterTriggerBeginQuery();
	MemoryContextSwitchTo(caller);
}

JobStore *
job_store_open(void)
{
	JobStore *store = palloc0(sizeof(JobStore));

	store->context = CurrentMemoryContext;
	store->heap = table_open(haul_catalog()->jobs, RowExclusiveLock);
	columns_find(&job_columns, store->heap);
	store->by_id = haul_index_open(store->heap, HAUL_JOBS_PKEY);
	store->snapshot = RegisterSnapshot(GetLatestSnapshot());
	store->scanned = table_slot_create(store->heap, NULL);
	store->locked = table_slot_create(store->heap, NULL);
	store->found = table_slot_create(store->heap, NULL);
	store->edited = MakeSingleTupleTableSlot(RelationGetDescr(store->heap), &TTSOpsHeapTuple);
	store->through_executor = has_foreign_triggers(store->heap) || additions_follow(store->heap);
	return store;
}

void
job_store_close(JobStore *store)
{
	Assert(store->scan == NULL);
	if (store->probe != NULL)
		index_endscan(store->probe);
	if (store->estate != NULL)
	{
		if (store->through_executor)
			AfterTriggerEndQuery(store->estate);
		ExecCloseIndices(store->relation);
		ExecResetTupleTable(store->estate->es_tupleTable, false);
		ExecCloseResultRelations(store->estate); /* those that triggers opened */
		ExecCloseRangeTableRelations(store->estate);
		FreeExecutorState(store->estate);
	}
	ExecDropSingleTupleTableSlot(store->scanned);
	ExecDropSingleTupleTableSlot(store->locked);
	ExecDropSingleTupleTableSlot(store->found);
	ExecDropSingleTupleTableSlot(store->edited);
	UnregisterSnapshot(store->snapshot);
	if (store->ready != NULL)
		index_close(store->ready, AccessShareLock);
	if (store->expires != NULL)
		index_close(store->expires, AccessShareLock);
	index_close(store->by_id, AccessShareLock);
	table_close(store->heap, NoLock);
	pfree(store);
	CommandCounterIncrement();
}

/* ---- lanes ---- */

static Relation
ready_index(JobStore *store)
{
	if (store->ready == NULL)
		store->ready = haul_index_open(store->heap, HAUL_JOBS_READY);
	return store->ready;
}

static void
key_text(ScanKey key, enum ReadyColumn column, StrategyNumber strategy, RegProcedure function,
		 text *value)
{
	ScanKeyEntryInitialize(key, 0, column, strategy, InvalidOid, C_COLLATION_OID, function,
						   PointerGetDatum(value));
}

/* The first entry of jobs_ready that the keys let through, even of a dead row: to
 * look for one that is alive could mean to walk past all that were ever finished. */
static bool
first_entry(JobStore *store, ScanKey keys, int nkeys, enum ReadyColumn column, Datum *value)
{
	IndexScanDesc scan =
		haul_index_beginscan(store->heap, ready_index(store), store->snapshot, nkeys);
	bool found;
	bool isnull;

	CHECK_FOR_INTERRUPTS(); /* a walk through many lanes is made of these */
	scan->xs_want_itup = true;
	scan->ignore_killed_tuples = false;
	index_rescan(scan, keys, nkeys, NULL, 0);
	found = index_getnext_tid(scan, ForwardScanDirection) != NULL;
	if (found)
	{
		*value = index_getattr(scan->xs_itup, column, scan->xs_itupdesc, &isnull);
		if (column == READY_QUEUE)
			*value = PointerGetDatum(DatumGetTextPCopy(*value));
	}
	index_endscan(scan);
	return found;
}

bool
job_store_next_queue(JobStore *store, text *after, text **queue)
{
	ScanKeyData key;
	Datum value;

	if (after != NULL)
		key_text(&key, READY_QUEUE, BTGreaterStrategyNumber, F_TEXT_GT, after);
	if (!first_entry(store, &key, after != NULL ? 1 : 0, READY_QUEUE, &value))
		return false;
	*queue = DatumGetTextPP(value);
	return true;
}

bool
job_store_next_priority(JobStore *store, text *queue, int after, int *priority)
{
	ScanKeyData keys[2];
	Datum value;

	key_text(&keys[0], READY_QUEUE, BTEqualStrategyNumber, F_TEXTEQ, queue);
	ScanKeyInit(&keys[1], READY_PRIORITY, BTGreaterStrategyNumber, F_INT2GT, Int16GetDatum(after));
	if (!first_entry(store, keys, 2, READY_PRIORITY, &value))
		return false;
	*priority = DatumGetInt16(value);
	return true;
}

/* Starts the one scan that a store can have. Its caller's memory context must
 * live until the end of the scan. */
static void
begin_scan(JobStore *store, Relation index, ScanKey keys, int nkeys, bool want_entries)
{
	Assert(store->scan == NULL);
	store->scan_snapshot = RegisterSnapshot(store->snapshot);
	store->scan = haul_index_beginscan(store->heap, index, store->scan_snapshot, nkeys);
	store->scan->xs_want_itup = want_entries;
	index_rescan(store->scan, keys, nkeys, NULL, 0);
}

/* ROW(time, id) >= key, for two columns of an index that follow each other. */
static void
key_from(JobStore *store, ScanKey key, int column, LaneKey from)
{
	ScanKeyEntryInitialize(&store->from[0], SK_ROW_MEMBER, column, BTGreaterEqualStrategyNumber,
						   InvalidOid, InvalidOid, F_TIMESTAMPTZ_CMP,
						   TimestampTzGetDatum(from.run_at));
	ScanKeyEntryInitialize(&store->from[1], SK_ROW_MEMBER | SK_ROW_END, column + 1,
						   BTGreaterEqualStrategyNumber, InvalidOid, InvalidOid, F_BTINT8CMP,
						   Int64GetDatum(from.id));
	memset(key, 0, sizeof(ScanKeyData));
	key->sk_flags = SK_ROW_HEADER;
	key->sk_attno = column;
	key->sk_strategy = BTGreaterEqualStrategyNumber;
	key->sk_argument = PointerGetDatum(store->from);
}

static void
begin_lane(JobStore *store, text *queue, int priority, LaneKey from, TimestampTz until,
		   bool want_entries)
{
	ScanKeyData keys[4];

	key_text(&keys[0], READY_QUEUE, BTEqualStrategyNumber, F_TEXTEQ, queue);
	ScanKeyInit(&keys[1], READY_PRIORITY, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(priority));
	key_from(store, &keys[2], READY_RUN_AT, from);
	ScanKeyInit(&keys[3], READY_RUN_AT, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	begin_scan(store, ready_index(store), keys, lengthof(keys), want_entries);
}

void
job_store_begin_lane(JobStore *store, text *queue, int priority, LaneKey from, TimestampTz until)
{
	begin_lane(store, queue, priority, from, until, false);
}

void
job_store_begin_entries(JobStore *store, text *queue, int priority, LaneKey from, TimestampTz until)
{
	begin_lane(store, queue, priority, from, until, true);
}

void
job_store_begin_expired(JobStore *store, LaneKey from, TimestampTz until)
{
	ScanKeyData keys[2];

	if (store->expires == NULL)
		store->expires = haul_index_open(store->heap, HAUL_JOBS_EXPIRES);
	key_from(store, &keys[0], 1, from);
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(until));
	begin_scan(store, store->expires, keys, lengthof(keys), false);
}

TupleTableSlot *
job_store_next(JobStore *store)
{
	CHECK_FOR_INTERRUPTS();
	if (!index_getnext_slot(store->scan, ForwardScanDirection, store->scanned))
		return NULL;
	slot_getallattrs(store->scanned);
	return store->scanned;
}

bool
job_store_next_entry(JobStore *store, LaneKey *key, TupleTableSlot **job)
{
	IndexScanDesc scan = store->scan;
	bool isnull;

	CHECK_FOR_INTERRUPTS();
	if (index_getnext_tid(scan, ForwardScanDirection) == NULL)
		return false;
	key->run_at =
		DatumGetTimestampTz(index_getattr(scan->xs_itup, READY_RUN_AT, scan->xs_itupdesc, &isnull));
	key->id = DatumGetInt64(index_getattr(scan->xs_itup, READY_ID, scan->xs_itupdesc, &isnull));
	*job = NULL;
	if (index_fetch_heap(scan, store->scanned))
	{
		slot_getallattrs(store->scanned);
		*job = store->scanned;
	}
	return true;
}

void
job_store_end_scan(JobStore *store)
{
	index_endscan(store->scan);
	store->scan = NULL;
	UnregisterSnapshot(store->scan_snapshot);
	ExecClearTuple(store->scanned);
}

/* ---- single jobs ---- */

/* A row was changed since the snapshot was taken, by others or by ourselves: take
 * one that sees it. */
void
job_store_renew(JobStore *store)
{
	CommandCounterIncrement();
	if (store->probe != NULL)
		index_endscan(store->probe);
	store->probe = NULL;
	UnregisterSnapshot(store->snapshot);
	store->snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (store->estate != NULL)
		store->estate->es_snapshot = store->snapshot;
}

TupleTableSlot *
job_store_find(JobStore *store, int64 id)
{
	/* the scan keeps what it allocates from one probe to the next */
	MemoryContext caller = MemoryContextSwitchTo(store->context);
	ScanKeyData key;
	bool found;

	CHECK_FOR_INTERRUPTS();
	if (store->probe == NULL)
		store->probe = haul_index_beginscan(store->heap, store->by_id, store->snapshot, 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(store->probe, &key, 1, NULL, 0);
	found = index_getnext_slot(store->probe, ForwardScanDirection, store->found);
	MemoryContextSwitchTo(caller);
	if (!found)
		return NULL;
	slot_getallattrs(store->found);
	return store->found;
}

JobLock
job_store_lock(JobStore *store, TupleTableSlot *job, LockWaitPolicy wait)
{
	TM_FailureData failure;
	TM_Result result;

	result =
		table_tuple_lock(store->heap, &job->tts_tid, store->snapshot, store->locked,
						 GetCurrentCommandId(true), LockTupleNoKeyExclusive, wait, 0, &failure);
	ExecClearTuple(store->locked);
	if (wait == LockWaitBlock && result != TM_Ok)
		job_store_renew(store);
	return result == TM_Ok ? JOB_LOCKED : result == TM_WouldBlock ? JOB_BUSY : JOB_CHANGED;
}

TupleTableSlot *
job_store_edit(JobStore *store, TupleTableSlot *job)
{
	TupleTableSlot *copy = store->edited;
	int columns = RelationGetNumberOfAttributes(store->heap);

	ExecClearTuple(copy);
	memcpy(copy->tts_values, job->tts_values, columns * sizeof(Datum));
	memcpy(copy->tts_isnull, job->tts_isnull, columns * sizeof(bool));
	return copy;
}

/* In the context of the store: what is looked up of a trigger's function serves the jobs that
 * follow, too. */
static void
update_by_executor(JobStore *store, TupleTableSlot *job)
{
	MemoryContext caller = MemoryContextSwitchTo(store->context);
	EPQState epq;
	int64 outer = writing; /* a trigger of somebody's may call us */

	prepare_executor(store);
	store->estate->es_output_cid = GetCurrentCommandId(true);
	haul_eval_plan_qual_init(&epq, store->estate);
	writing = job_id(job);
	PG_TRY();
	{
		ExecSimpleRelationUpdate(store->relation, store->estate, &epq, job, store->edited);
	}
	PG_FINALLY();
	{
		writing = outer;
	}
	PG_END_TRY();
	EvalPlanQualEnd(&epq);
	ResetPerTupleExprContext(store->estate);
	MemoryContextSwitchTo(caller);
}

static TM_Result
update_directly(JobStore *store, TupleTableSlot *job, bool wait)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TU_UpdateIndexes indexes;
	TM_Result result = haul_tuple_update(store->heap, &job->tts_tid, store->edited, store->snapshot,
										 wait, &failure, &mode, &indexes);

	if (result == TM_Ok && indexes != TU_None)
	{
		prepare_executor(store);
		haul_insert_index_tuples(store->relation, store->edited, store->estate, true,
								 haul_only_summarizing(indexes));
		ResetPerTupleExprContext(store->estate);
	}
	return result;
}

static void
store_copy(JobStore *store)
{
	ExecStoreVirtualTuple(store->edited);
	ItemPointerSetInvalid(&store->edited->tts_tid);
}

/* Writes the stored copy of a locked job. */
static bool
update_locked(JobStore *store, TupleTableSlot *job)
{
	TM_Result result;

	if (store->through_executor)
	{
		update_by_executor(store, job);
		return ItemPointerIsValid(&store->edited->tts_tid);
	}
	/* The lock is ours already: waiting is only what heap_update asks of callers. */
	result = update_directly(store, job, true);
	if (result != TM_Ok)
		elog(ERROR, "unexpected result %d of updating a job", result);
	return true;
}

bool
job_store_update(JobStore *store, TupleTableSlot *job)
{
	store_copy(store);
	return update_locked(store, job);
}

JobLock
job_store_update_if_free(JobStore *store, TupleTableSlot *job)
{
	JobLock lock;

	store_copy(store);
	if (HAUL_UPDATE_CAN_SKIP && !store->through_executor)
	{
		TM_Result result = update_directly(store, job, false);

		if (result != TM_BeingModified)
			return result == TM_Ok ? JOB_LOCKED : JOB_CHANGED;
		/* locked, but perhaps by this very transaction */
	}
	lock = job_store_lock(store, job, LockWaitSkip);
	if (lock != JOB_LOCKED)
		return lock;
	return update_locked(store, job) ? JOB_LOCKED : JOB_SUPPRESSED;
}

static void
delete_by_executor(JobStore *store, TupleTableSlot *job)
{
	MemoryContext caller = MemoryContextSwitchTo(store->context);
	EPQState epq;

	prepare_executor(store);
	store->estate->es_output_cid = GetCurrentCommandId(true);
	haul_eval_plan_qual_init(&epq, store->estate);
	ExecSimpleRelationDelete(store->relation, store->estate, &epq, job);
	EvalPlanQualEnd(&epq);
	ResetPerTupleExprContext(store->estate);
	MemoryContextSwitchTo(caller);
	if (job_store_lock(store, job, LockWaitSkip) == JOB_LOCKED)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("a trigger on haul.jobs suppressed the end of job " INT64_FORMAT,
							   job_id(job)),
						errhint("A BEFORE DELETE trigger on haul.jobs must return OLD.")));
}

bool
job_store_delete(JobStore *store, TupleTableSlot *job)
{
	TM_FailureData failure;

	if (store->through_executor)
	{
		if (job_store_lock(store, job, LockWaitBlock) != JOB_LOCKED)
			return false;
		delete_by_executor(store, job);
		return true;
	}
	if (haul_tuple_delete(store->heap, &job->tts_tid, store->snapshot, &failure) == TM_Ok)
		return true;
	job_store_renew(store);
	return false;
}
