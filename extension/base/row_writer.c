/*
 * row_writer.c: single rows of our small tables, locked and changed.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/additions.h"
#include "base/row_reader.h"
#include "base/row_writer.h"

bool
row_lock(Relation table, HaulIndex index, Columns *columns, ScanKey keys, int nkeys,
		 TupleTableSlot *row)
{
	for (;;)
	{
		RowReader reader;
		TupleTableSlot *found;
		TM_FailureData failure;
		TM_Result result = TM_Deleted;

		row_reader_open(&reader, RelationGetRelid(table), index, columns, RowExclusiveLock, keys,
						nkeys);
		found = row_reader_next(&reader);
		if (found != NULL)
			result = table_tuple_lock(table, &found->tts_tid, reader.snapshot, row,
									  GetCurrentCommandId(true), LockTupleNoKeyExclusive,
									  LockWaitBlock, 0, &failure);
		row_reader_close(&reader);
		if (found == NULL || result == TM_Ok)
			return found != NULL;
		/* changed meanwhile, by others or by the statement that called us: look again */
		CommandCounterIncrement();
	}
}

/* What the executor needs to write a row of the table. */
typedef struct Writing
{
	EState *estate;
	ResultRelInfo *relation;
} Writing;

static Writing
begin_writing(Relation table, AttrNumber changed)
{
	Writing writing = {CreateExecutorState(), makeNode(ResultRelInfo)};

	haul_init_range_table(writing.estate, table,
						  bms_make_singleton(changed - FirstLowInvalidHeapAttributeNumber));
	InitResultRelInfo(writing.relation, table, 1, NULL, 0);
	return writing;
}

static void
end_writing(Writing writing)
{
	ExecResetTupleTable(writing.estate->es_tupleTable, false);
	ExecCloseRangeTableRelations(writing.estate);
	FreeExecutorState(writing.estate);
}

void
row_update(Relation table, TupleTableSlot *row, const Columns *columns, int column, Datum value)
{
	int natts = RelationGetNumberOfAttributes(table);
	TupleTableSlot *copy = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Writing writing = {NULL, NULL};
	TM_FailureData failure;
	LockTupleMode mode;
	TU_UpdateIndexes indexes;
	TM_Result result;

	ExecClearTuple(copy);
	memcpy(copy->tts_values, row->tts_values, natts * sizeof(Datum));
	memcpy(copy->tts_isnull, row->tts_isnull, natts * sizeof(bool));
	copy->tts_values[columns->places[column]] = value;
	ExecStoreVirtualTuple(copy);
	if (additions_follow(table))
	{
		writing = begin_writing(table, column_number(columns, column));
		additions_compute(writing.relation, writing.estate, copy, CMD_UPDATE);
	}
	/* the lock is ours: nobody can have changed it */
	result =
		haul_tuple_update(table, &row->tts_tid, copy, snapshot, true, &failure, &mode, &indexes);
	if (result != TM_Ok)
		elog(ERROR, "unexpected result %d of updating a row of %s", result,
			 RelationGetRelationName(table));
	if (indexes != TU_None)
	{
		if (writing.estate == NULL)
			writing = begin_writing(table, column_number(columns, column));
		ExecOpenIndices(writing.relation, false);
		haul_insert_index_tuples(writing.relation, copy, writing.estate, true,
								 haul_only_summarizing(indexes));
		ExecCloseIndices(writing.relation);
	}
	if (writing.estate != NULL)
		end_writing(writing);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(copy);
}

/* Whether nothing but the table itself holds, or wants to know of, the values in these columns. */
static bool
may_overwrite(Relation table, int count, const int *numbers)
{
	/* first: the description of triggers may move when something is looked up */
	Bitmapset *indexed = haul_indexed_columns(table);
	const TriggerDesc *triggers = table->trigdesc;
	const TupleConstr *constraints = RelationGetDescr(table)->constr;

	if (triggers != NULL &&
		(triggers->trig_update_before_row || triggers->trig_update_after_row ||
		 triggers->trig_update_before_statement || triggers->trig_update_after_statement))
		return false;
	if (constraints != NULL && constraints->has_generated_stored)
		return false;
	for (int i = 0; i < count; i++)
		if (bms_is_member(numbers[i] - FirstLowInvalidHeapAttributeNumber, indexed))
			return false;
	return true;
}

/* The row where it was when it was read; its length is 0 when it is not there any more. */
static HeapTupleData
row_on_page(Page page, HeapTuple read)
{
	OffsetNumber place = ItemPointerGetOffsetNumber(&read->t_self);
	HeapTupleData row = {.t_self = read->t_self, .t_tableOid = read->t_tableOid};
	ItemId item;

	if (place > PageGetMaxOffsetNumber(page))
		return row;
	item = PageGetItemId(page, place);
	if (!ItemIdIsNormal(item))
		return row;
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	if (HeapTupleHeaderGetRawXmin(row.t_data) == HeapTupleHeaderGetRawXmin(read->t_data))
		row.t_len = ItemIdGetLength(item);
	return row;
}

bool
row_overwrite(Relation table, TupleTableSlot *row, const Columns *columns, int count,
			  const int *chosen, Datum *values)
{
	HeapTuple read = ExecFetchSlotHeapTuple(row, false, NULL);
	int *numbers = palloc(count * sizeof(int));
	bool *nulls = palloc0(count * sizeof(bool));
	Buffer buffer;
	GenericXLogState *wal;
	HeapTupleData old;
	bool fits;

	for (int i = 0; i < count; i++)
		numbers[i] = column_number(columns, chosen[i]);
	if (!may_overwrite(table, count, numbers))
		return false;
	buffer = ReadBuffer(table, ItemPointerGetBlockNumber(&read->t_self));
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	wal = GenericXLogStart(table);
	old = row_on_page(GenericXLogRegisterBuffer(wal, buffer, 0), read);
	fits = old.t_len > 0;
	if (fits)
	{
		HeapTuple new =
			heap_modify_tuple_by_cols(&old, RelationGetDescr(table), count, numbers, values, nulls);

		fits = new->t_len == old.t_len &&new->t_data->t_hoff == old.t_data->t_hoff;
		if (fits)
			memcpy((char *) old.t_data + old.t_data->t_hoff,
				   (char *) new->t_data + old.t_data->t_hoff, old.t_len - old.t_data->t_hoff);
	}
	if (fits)
		GenericXLogFinish(wal);
	else
		GenericXLogAbort(wal);
	UnlockReleaseBuffer(buffer);
	return fits;
}
