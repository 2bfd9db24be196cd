/*
 * queue.c: settings of queues (haul.queues).
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/names.h"
#include "base/row_reader.h"
#include "rows/queue.h"

#define DEFAULT_PRIORITY 16383

/* columns of haul.queues */
enum QueueColumn
{
	QUEUE_NAME,
	QUEUE_PRIORITY,
	QUEUE_KEEP_COMPLETED,
	QUEUE_KEEP_FAILED,
};

static const Column queue_list[] = {
	[QUEUE_NAME] = {"name", TEXTOID},
	[QUEUE_PRIORITY] = {"priority", INT2OID},
	[QUEUE_KEEP_COMPLETED] = {"keep_completed", INTERVALOID},
	[QUEUE_KEEP_FAILED] = {"keep_failed", INTERVALOID},
	{NULL},
};
static Columns queue_columns = COLUMNS(queue_list);

/* What was read last: most calls deal with one queue. */
static Queue last;
static MemoryContext context = NULL;

static Interval *
read_interval(TupleTableSlot *row, enum QueueColumn column)
{
	Interval *copy;

	if (column_is_null(&queue_columns, row, column))
		return NULL;
	copy = palloc(sizeof(Interval));
	*copy = *DatumGetIntervalP(column_value(&queue_columns, row, column));
	return copy;
}

void
queue_forget(void)
{
	last.name = NULL;
	if (context != NULL)
		MemoryContextReset(context);
}

const Queue *
queue_get(text *name)
{
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	MemoryContext caller;

	if (last.name != NULL && name_order(last.name, name) == 0)
		return &last;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "pg_haul queue", ALLOCSET_SMALL_SIZES);
	queue_forget();
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(name));
	row_reader_open(&reader, haul_catalog()->queues, HAUL_QUEUES_PKEY, &queue_columns,
					AccessShareLock, &key, 1);
	row = row_reader_next(&reader);

	caller = MemoryContextSwitchTo(context);
	last.priority = row != NULL ? DatumGetInt16(column_value(&queue_columns, row, QUEUE_PRIORITY))
								: DEFAULT_PRIORITY;
	last.keep_completed = row != NULL ? read_interval(row, QUEUE_KEEP_COMPLETED) : NULL;
	last.keep_failed = row != NULL ? read_interval(row, QUEUE_KEEP_FAILED) : NULL;
	last.name = DatumGetTextPCopy(PointerGetDatum(name));
	MemoryContextSwitchTo(caller);
	row_reader_close(&reader);
	return &last;
}
