/*
 * row_writer.c: single rows of our small tables, locked and changed.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/row_reader.h"
#include "base/row_writer.h"

bool
row_lock(Relation table, HaulIndex index, ScanKey keys, int nkeys, TupleTableSlot *row)
{
	for (;;)
	{
		RowReader reader;
		TupleTableSlot *found;
		TM_FailureData failure;
		TM_Result result = TM_Deleted;

		row_reader_open(&reader, RelationGetRelid(table), index, RowExclusiveLock, keys, nkeys);
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

static void
insert_index_entries(Relation table, TupleTableSlot *row, bool only_summarizing)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *relation = makeNode(ResultRelInfo);

	haul_init_range_table(estate, table, NULL);
	InitResultRelInfo(relation, table, 1, NULL, 0);
	ExecOpenIndices(relation, false);
	haul_insert_index_tuples(relation, row, estate, true, only_summarizing);
	ExecCloseIndices(relation);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseRangeTableRelations(estate);
	FreeExecutorState(estate);
}

void
row_update(Relation table, TupleTableSlot *row, int column, Datum value)
{
	int columns = RelationGetNumberOfAttributes(table);
	TupleTableSlot *copy = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TM_FailureData failure;
	LockTupleMode mode;
	TU_UpdateIndexes indexes;
	TM_Result result;

	ExecClearTuple(copy);
	memcpy(copy->tts_values, row->tts_values, columns * sizeof(Datum));
	memcpy(copy->tts_isnull, row->tts_isnull, columns * sizeof(bool));
	copy->tts_values[column] = value;
	ExecStoreVirtualTuple(copy);
	/* the lock is ours: nobody can have changed it */
	result = haul_tuple_update(table, &row->tts_tid, copy, snapshot, &failure, &mode, &indexes);
	if (result != TM_Ok)
		elog(ERROR, "unexpected result %d of updating a row of %s", result,
			 RelationGetRelationName(table));
	if (indexes != TU_None)
		insert_index_entries(table, copy, haul_only_summarizing(indexes));
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(copy);
}
