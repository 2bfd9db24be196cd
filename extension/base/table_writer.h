/*
 * table_writer.h: rows appended to a table of our own, in batches.
 *
 * For tables that have no triggers and no constraints that the caller does not
 * keep by construction. Checks no privileges.
 */
#ifndef HAUL_TABLE_WRITER_H
#define HAUL_TABLE_WRITER_H

#include "postgres.h"

#include "executor/tuptable.h"

typedef struct TableWriter TableWriter;

extern TableWriter *table_writer_open(Oid table);

/* The same, for tables in which no row may stand before one that is older than the call: adds to
 * the last page. */
extern TableWriter *table_writer_open_at_end(Oid table);

/* The row to fill in: set all values and nulls of the slot, then add it. */
extern TupleTableSlot *table_writer_row(TableWriter *writer);

/* A column, numbered from 0, of such a row. */
static inline void
table_writer_set(TupleTableSlot *row, int column, Datum value)
{
	row->tts_values[column] = value;
	row->tts_isnull[column] = false;
}

/* Adds the row; its values are copied. */
extern void table_writer_add(TableWriter *writer);

/* Writes what was added and closes the table; the lock stays until the end of the transaction. */
extern void table_writer_close(TableWriter *writer);

#endif
