/*
 * worker.c: rows of haul.workers and what they subscribe to.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/names.h"
#include "base/row_reader.h"
#include "rows/worker.h"

/* columns of haul.workers */
enum WorkerColumn
{
	WORKER_ID,
	WORKER_NAME,
	WORKER_HOSTNAME,
	WORKER_PID,
	WORKER_QUEUES,
	WORKER_WEIGHTS,
	WORKER_EXCLUDE,
	WORKER_KINDS,
	WORKER_MIN_PRIORITY,
	WORKER_MAX_PRIORITY,
	WORKER_QUEUE_ORDER,
	WORKER_NAMESPACE,
	WORKER_MAX_THREADS,
	WORKER_CONFIRM_START,
	WORKER_WAKE,
	WORKER_STARTED_AT,
	WORKER_LOST_AT,
	WORKER_OWNER_ID,
};

static const Column worker_list[] = {
	[WORKER_ID] = {"id", INT8OID},
	[WORKER_NAME] = {"name", TEXTOID},
	[WORKER_HOSTNAME] = {"hostname", TEXTOID},
	[WORKER_PID] = {"pid", INT4OID},
	[WORKER_QUEUES] = {"queues", TEXTARRAYOID},
	[WORKER_WEIGHTS] = {"weights", FLOAT8ARRAYOID},
	[WORKER_EXCLUDE] = {"exclude", TEXTARRAYOID},
	[WORKER_KINDS] = {"kinds", TEXTARRAYOID},
	[WORKER_MIN_PRIORITY] = {"min_priority", INT2OID},
	[WORKER_MAX_PRIORITY] = {"max_priority", INT2OID},
	[WORKER_QUEUE_ORDER] = {"queue_order", TEXTOID},
	[WORKER_NAMESPACE] = {"namespace", TEXTOID},
	[WORKER_MAX_THREADS] = {"max_threads", INT4OID},
	[WORKER_CONFIRM_START] = {"confirm_start", BOOLOID},
	[WORKER_WAKE] = {"wake", TEXTOID},
	[WORKER_STARTED_AT] = {"started_at", TIMESTAMPTZOID},
	[WORKER_LOST_AT] = {"lost_at", TIMESTAMPTZOID},
	[WORKER_OWNER_ID] = {"owner_id", OIDOID},
	{NULL, InvalidOid},
};
static Columns worker_columns = COLUMNS(worker_list);

static Names
read_names(TupleTableSlot *row, enum WorkerColumn column, bool sort)
{
	Names names = {0, NULL};
	Datum *elements;

	if (column_is_null(&worker_columns, row, column))
		return names;
	/* a copy: the row's buffer is let go before the names are */
	deconstruct_array(DatumGetArrayTypePCopy(column_value(&worker_columns, row, column)), TEXTOID,
					  -1, false, TYPALIGN_INT, &elements, NULL, &names.count);
	names.names = palloc(names.count * sizeof(text *));
	for (int i = 0; i < names.count; i++)
		names.names[i] = DatumGetTextPP(elements[i]);
	if (sort)
		names_sort(&names);
	return names;
}

static double *
read_weights(TupleTableSlot *row)
{
	char *order = TextDatumGetCString(column_value(&worker_columns, row, WORKER_QUEUE_ORDER));
	ArrayType *weights;

	if (column_is_null(&worker_columns, row, WORKER_WEIGHTS) || strcmp(order, "weighted") != 0)
		return NULL;
	weights = DatumGetArrayTypePCopy(column_value(&worker_columns, row, WORKER_WEIGHTS));
	return (double *) ARR_DATA_PTR(weights);
}

static WorkerWake
read_wake(TupleTableSlot *row)
{
	char *wake = TextDatumGetCString(column_value(&worker_columns, row, WORKER_WAKE));

	return strcmp(wake, "worker") == 0 ? WAKE_WORKER
		   : strcmp(wake, "none") == 0 ? WAKE_NONE
									   : WAKE_QUEUE;
}

static uint64
hash_names(const Names *names, uint64 seed)
{
	uint64 hash = seed;

	for (int i = 0; i < names->count; i++)
		hash = name_hash(names->names[i], hash);
	return hash;
}

/* What sets workers apart that find different jobs in the same lane, or look at different lanes. */
static void
make_filters(Worker *worker)
{
	uint64 queues = worker->all_queues ? 1 : hash_names(&worker->queues, 2);
	uint64 excluded = hash_names(&worker->exclude, queues);
	uint64 within = worker->namespace != NULL ? name_hash(worker->namespace, excluded) : excluded;
	uint64 priorities = (uint64) worker->min_priority << 16 | (uint64) worker->max_priority;

	worker->kinds_filter = worker->all_kinds ? 0 : hash_names(&worker->kinds, 0);
	worker->name_filter = name_hash(worker->name, worker->kinds_filter + 1);
	worker->subscription_filter =
		hash_combine64(hash_combine64(within, priorities), worker->kinds_filter);
}

Worker *
worker_find(int64 id)
{
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	Worker *worker = NULL;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	row_reader_open(&reader, haul_catalog()->workers, HAUL_WORKERS_PKEY, &worker_columns,
					AccessShareLock, &key, 1);
	row = row_reader_next(&reader);
	if (row != NULL)
	{
		worker = palloc0(sizeof(Worker));
		worker->id = id;
		worker->name = DatumGetTextPCopy(column_value(&worker_columns, row, WORKER_NAME));
		worker->all_queues = column_is_null(&worker_columns, row, WORKER_QUEUES);
		worker->queues = read_names(row, WORKER_QUEUES, false);
		worker->weights = read_weights(row);
		worker->exclude = read_names(row, WORKER_EXCLUDE, true);
		worker->all_kinds = column_is_null(&worker_columns, row, WORKER_KINDS);
		worker->kinds = read_names(row, WORKER_KINDS, true);
		worker->min_priority =
			DatumGetInt16(column_value(&worker_columns, row, WORKER_MIN_PRIORITY));
		worker->max_priority =
			DatumGetInt16(column_value(&worker_columns, row, WORKER_MAX_PRIORITY));
		if (!column_is_null(&worker_columns, row, WORKER_NAMESPACE))
		{
			char *namespace =
				TextDatumGetCString(column_value(&worker_columns, row, WORKER_NAMESPACE));

			worker->namespace = cstring_to_text(psprintf("%s.", namespace));
		}
		worker->confirm_start =
			DatumGetBool(column_value(&worker_columns, row, WORKER_CONFIRM_START));
		worker->wake = read_wake(row);
		make_filters(worker);
		worker->started_at =
			DatumGetTimestampTz(column_value(&worker_columns, row, WORKER_STARTED_AT));
		worker->is_lost = !column_is_null(&worker_columns, row, WORKER_LOST_AT);
		worker->owner = DatumGetObjectId(column_value(&worker_columns, row, WORKER_OWNER_ID));
	}
	row_reader_close(&reader);
	return worker;
}

Worker *
worker_get(int64 id)
{
	Worker *worker = worker_find(id);

	if (worker == NULL)
		ereport(ERROR, (errcode(ERRCODE_HAUL_UNKNOWN_WORKER),
						errmsg("worker " INT64_FORMAT " is not registered", id),
						errhint("Its row is gone from haul.workers: register again with "
								"haul.register_worker().")));
	worker_refuse_others(worker);
	return worker;
}

/* Whoever may delete the worker's row can take its jobs away from it anyway. */
static bool
may_act_for(Oid owner)
{
	Oid role = GetUserId();

	return role == owner || has_privs_of_role(role, owner) ||
		   pg_class_aclcheck(haul_catalog()->workers, role, ACL_DELETE) == ACLCHECK_OK;
}

void
worker_refuse_others(const Worker *worker)
{
	const char *owner;

	if (may_act_for(worker->owner))
		return;
	owner = GetUserNameFromId(worker->owner, true);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 owner != NULL
				 ? errmsg("worker " INT64_FORMAT " belongs to role \"%s\"", worker->id, owner)
				 : errmsg("worker " INT64_FORMAT " belongs to a role that does not exist any more",
						  worker->id),
			 errhint("Register a worker of your own with haul.register_worker(), or call as its "
					 "owner, a member of that role, or an administrator.")));
}

bool
worker_lock(int64 id, LOCKMODE mode, bool wait)
{
	LOCKTAG tag;

	/* Workers that share the lower half of their ids share the lock, which is harmless. */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, haul_catalog()->workers, (uint32) id, 1);
	return LockAcquire(&tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

int64
worker_id_of(HeapTuple row, Relation workers)
{
	bool isnull;

	columns_find(&worker_columns, workers);
	return DatumGetInt64(heap_getattr(row, column_number(&worker_columns, WORKER_ID),
									  RelationGetDescr(workers), &isnull));
}
