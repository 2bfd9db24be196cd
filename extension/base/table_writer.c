/*
 * table_writer.c: rows appended to a table of our own, in batches.
 *
 * Rows go to the table many at a time, which needs a WAL record a page instead
 * of one a row.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/additions.h"
#include "base/table_writer.h"

#define BATCH_ROWS 128
#define BATCH_BYTES (256 * 1024)

struct TableWriter
{
	Relation table;
	Columns *columns;
	MemoryContext context; /* of the writer and its slots */
	MemoryContext scratch; /* reset after each batch */
	EState *estate;		   /* for indexes and additions; NULL if the table has none */
	ResultRelInfo *relation;
	Additions *additions;			  /* NULL: none */
	TupleTableSlot *row;			  /* that is being filled in */
	int options;					  /* TABLE_INSERT_… */
	TupleTableSlot *rows[BATCH_ROWS]; /* made when first needed */
	int nrows;
	Size bytes;
};

TableWriter *
table_writer_open(Oid table, Columns *columns)
{
	TableWriter *writer = palloc0(sizeof(TableWriter));

	writer->context = CurrentMemoryContext;
	writer->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "pg_haul table writer", ALLOCSET_DEFAULT_SIZES);
	writer->table = table_open(table, RowExclusiveLock);
	writer->columns = columns;
	columns_find(columns, writer->table);
	if (writer->table->rd_rel->relhasindex || additions_exist(writer->table, columns))
	{
		writer->estate = CreateExecutorState();
		haul_init_range_table(writer->estate, writer->table, NULL);
		writer->relation = makeNode(ResultRelInfo);
		InitResultRelInfo(writer->relation, writer->table, 1, NULL, 0);
		ExecOpenIndices(writer->relation, false);
		writer->additions =
			additions_open(writer->table, columns, writer->relation, writer->estate);
	}
	return writer;
}

TableWriter *
table_writer_open_at_end(Oid table, Columns *columns)
{
	TableWriter *writer = table_writer_open(table, columns);

	writer->options = TABLE_INSERT_SKIP_FSM;
	RelationSetTargetBlock(writer->table, InvalidBlockNumber);
	return writer;
}

void
table_writer_begin_row(TableWriter *writer)
{
	TupleTableSlot **row = &writer->rows[writer->nrows];

	if (*row == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(writer->context);

		*row = table_slot_create(writer->table, NULL);
		MemoryContextSwitchTo(caller);
	}
	ExecClearTuple(*row);
	memset((*row)->tts_isnull, true, RelationGetNumberOfAttributes(writer->table) * sizeof(bool));
	writer->row = *row;
}

void
table_writer_set(TableWriter *writer, int column, Datum value)
{
	int place = writer->columns->places[column];

	writer->row->tts_values[place] = value;
	writer->row->tts_isnull[place] = false;
}

static void
flush(TableWriter *writer)
{
	MemoryContext caller = MemoryContextSwitchTo(writer->scratch);

	if (writer->nrows == 1)
		table_tuple_insert(writer->table, writer->rows[0], GetCurrentCommandId(true),
						   writer->options, NULL);
	else if (writer->nrows > 1)
		table_multi_insert(writer->table, writer->rows, writer->nrows, GetCurrentCommandId(true),
						   writer->options, NULL);

	for (int i = 0; writer->estate != NULL && i < writer->nrows; i++)
	{
		haul_insert_index_tuples(writer->relation, writer->rows[i], writer->estate, false, false);
		ResetPerTupleExprContext(writer->estate);
	}
	for (int i = 0; i < writer->nrows; i++)
		ExecClearTuple(writer->rows[i]);
	writer->nrows = 0;
	writer->bytes = 0;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(writer->scratch);
}

void
table_writer_add(TableWriter *writer)
{
	TupleTableSlot *row = writer->row;
	HeapTuple tuple;
	bool should_free;

	if (writer->additions != NULL)
		additions_fill_in(writer->additions, row);
	else
		ExecStoreVirtualTuple(row);
	ExecMaterializeSlot(row);
	tuple = ExecFetchSlotHeapTuple(row, false, &should_free);
	writer->bytes += tuple->t_len;
	if (should_free)
		heap_freetuple(tuple);
	if (++writer->nrows == BATCH_ROWS || writer->bytes > BATCH_BYTES)
		flush(writer);
}

void
table_writer_close(TableWriter *writer)
{
	flush(writer);
	for (int i = 0; i < BATCH_ROWS && writer->rows[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(writer->rows[i]);
	if (writer->estate != NULL)
	{
		ExecCloseIndices(writer->relation);
		ExecResetTupleTable(writer->estate->es_tupleTable, false);
		ExecCloseRangeTableRelations(writer->estate);
		FreeExecutorState(writer->estate);
	}
	table_close(writer->table, NoLock);
	MemoryContextDelete(writer->scratch);
	pfree(writer);
}
