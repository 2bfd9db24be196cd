/*
 * row_writer.h: single rows of our small tables, locked and changed.
 *
 * For tables without triggers, and columns without constraints. Checks no privileges.
 */
#ifndef HAUL_ROW_WRITER_H
#define HAUL_ROW_WRITER_H

#include "postgres.h"

#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "base/columns.h"

/* Fetches the latest version of the row with these keys, whatever the isolation level, locked until
 * the end of the transaction; false when there is none. */
extern bool row_lock(Relation table, HaulIndex index, Columns *columns, ScanKey keys, int nkeys,
					 TupleTableSlot *row);

/* Changes one column (numbered from 0), not null, of a row so locked, all columns of which are
 * fetched. */
extern void row_update(Relation table, TupleTableSlot *row, const Columns *columns, int column,
					   Datum value);

#endif
