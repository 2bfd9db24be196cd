/*
 * table_writer.h: rows appended to a table of our own, in batches.
 *
 * For tables that have no triggers and no constraints that the caller does not
 * keep by construction, but for what others added (additions.h). Checks no privileges.
 */
#ifndef HAUL_TABLE_WRITER_H
#define HAUL_TABLE_WRITER_H

#include "postgres.h"

#include "base/columns.h"

typedef struct TableWriter TableWriter;

extern TableWriter *table_writer_open(Oid table, Columns *columns);

/* The same, for tables in which no row may stand before one that is older than the call: adds to
 * the last page. */
extern TableWriter *table_writer_open_at_end(Oid table, Columns *columns);

/* A row to fill in, all columns of which are null for now. */
extern void table_writer_begin_row(TableWriter *writer);
extern void table_writer_set(TableWriter *writer, int column, Datum value);

/* Adds the row; its values are copied. */
extern void table_writer_add(TableWriter *writer);

/* Writes what was added and closes the table; the lock stays until the end of the transaction. */
extern void table_writer_close(TableWriter *writer);

#endif
