/*
 * queue.c: settings of queues (haul.queues).
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/names.h"
#include "base/row_reader.h"
#include "rows/queue.h"

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
	{NULL, InvalidOid},
};
static Columns queue_columns = COLUMNS(queue_list);

/* What was read last: most calls deal with one queue. */
static Queue last;
static MemoryContext context = NULL;

static Interval *
queue_read_interval(TupleTableSlot *row, enum QueueColumn column)
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
	last.keep_completed = row != NULL ? queue_read_interval(row, QUEUE_KEEP_COMPLETED) : NULL;
	last.keep_failed = row != NULL ? queue_read_interval(row, QUEUE_KEEP_FAILED) : NULL;
	last.name = DatumGetTextPCopy(PointerGetDatum(name));
	MemoryContextSwitchTo(caller);
	row_reader_close(&reader);
	return &last;
}

/* ---- the order of queues ---- */

static QueueRanking ranking;
static MemoryContext ranking_context = NULL;
static bool ranking_is_current = false;
static Oid ranked_table;

/* haul.queues was changed: the trigger below says so to all sessions, when the change commits. */
static void
table_changed(Datum arg, Oid relation)
{
	if (relation == ranked_table || !OidIsValid(relation))
		ranking_is_current = false;
}

static int
compare_bytes(const char *a, int a_length, const char *b, int b_length)
{
	int difference = memcmp(a, b, Min(a_length, b_length));

	return difference != 0 ? difference : a_length - b_length;
}

static int
queue_compare_names(const text *a, const text *b)
{
	return compare_bytes(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a), VARDATA_ANY(b),
						 VARSIZE_ANY_EXHDR(b));
}

static int
by_rank(const void *a, const void *b)
{
	const RankedQueue *x = a;
	const RankedQueue *y = b;

	return x->priority != y->priority ? x->priority - y->priority
									  : queue_compare_names(x->name, y->name);
}

static int
by_name(const void *a, const void *b)
{
	return queue_compare_names((*(RankedQueue *const *) a)->name,
							   (*(RankedQueue *const *) b)->name);
}

static void
read_ranking(void)
{
	RowReader reader;
	TupleTableSlot *row;
	int capacity = 16;

	ranking.count = 0;
	ranking.hash = 0;
	ranking.queues = palloc(capacity * sizeof(RankedQueue));
	row_reader_open(&reader, haul_catalog()->queues, HAUL_QUEUES_PKEY, &queue_columns,
					AccessShareLock, NULL, 0);
	while ((row = row_reader_next(&reader)) != NULL)
	{
		RankedQueue queue = {.priority =
								 DatumGetInt16(column_value(&queue_columns, row, QUEUE_PRIORITY))};

		if (queue.priority == HAUL_DEFAULT_QUEUE_PRIORITY)
			continue;
		queue.name = DatumGetTextPCopy(column_value(&queue_columns, row, QUEUE_NAME));
		if (ranking.count == capacity)
			ranking.queues = repalloc_huge(ranking.queues, (capacity *= 2) * sizeof(RankedQueue));
		ranking.queues[ranking.count++] = queue;
	}
	row_reader_close(&reader);
	if (ranking.count > 0)
		qsort(ranking.queues, ranking.count, sizeof(RankedQueue), by_rank);
}

static void
index_ranking(void)
{
	ranking.by_name =
		MemoryContextAllocHuge(CurrentMemoryContext, (ranking.count + 1) * sizeof(RankedQueue *));
	for (int i = 0; i < ranking.count; i++)
	{
		const RankedQueue *queue = &ranking.queues[i];

		ranking.by_name[i] = &ranking.queues[i];
		ranking.hash =
			hash_bytes_extended((const unsigned char *) VARDATA_ANY(queue->name),
								VARSIZE_ANY_EXHDR(queue->name), ranking.hash + queue->priority);
		if (ranking.hash == 0)
			ranking.hash = 1;
	}
	if (ranking.count > 0)
		qsort(ranking.by_name, ranking.count, sizeof(RankedQueue *), by_name);
}

const QueueRanking *
queue_ranking(void)
{
	MemoryContext caller;

	if (ranking_context == NULL)
	{
		ranking_context =
			AllocSetContextCreate(TopMemoryContext, "pg_haul ranking", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	}
	if (ranking_is_current && ranked_table == haul_catalog()->queues)
		return &ranking;

	/* what changes from here on is told to us later, or seen by the snapshot */
	ranked_table = haul_catalog()->queues;
	LockRelationOid(ranked_table, AccessShareLock);
	MemoryContextReset(ranking_context);
	caller = MemoryContextSwitchTo(ranking_context);
	ranking_is_current = true;
	PG_TRY();
	{
		read_ranking();
		index_ranking();
	}
	PG_CATCH();
	{
		ranking_is_current = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return &ranking;
}

int
queue_rank(const QueueRanking *of, const char *name, int length)
{
	int low = 0;
	int high = of->count;

	while (low < high)
	{
		int middle = (low + high) / 2;
		const RankedQueue *queue = of->by_name[middle];
		int difference =
			compare_bytes(name, length, VARDATA_ANY(queue->name), VARSIZE_ANY_EXHDR(queue->name));

		if (difference == 0)
			return queue->priority;
		if (difference < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return HAUL_DEFAULT_QUEUE_PRIORITY;
}

PG_FUNCTION_INFO_V1(haul_queue_ranking_changed);

/* Trigger of haul.queues: where it changes priorities, every session reads them anew. */
Datum
haul_queue_ranking_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("haul._queue_ranking_changed() is a trigger of haul.queues")));
	CacheInvalidateRelcacheByRelid(
		RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	return PointerGetDatum(NULL);
}
