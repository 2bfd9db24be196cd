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

/*
 * Writes values over those of the chosen columns of a row, where it stands: no new version, no
 * transaction id, no lock of the row, nothing to wait for; it stays whatever becomes of the
 * transaction. For values that are true whoever says them last. The row is one that was just read
 * from the table, which is open with RowExclusiveLock. False, and nothing is done, when the row has
 * changed since, when the values do not fit into the place of the old ones, and where an index, a
 * trigger or a generated column depends on them.
 */
extern bool row_overwrite(Relation table, TupleTableSlot *row, const Columns *columns, int count,
						  const int *chosen, Datum *values);

/* Changes one column (numbered from 0), not null, of a row so locked, all columns of which are
 * fetched. */
extern void row_update(Relation table, TupleTableSlot *row, const Columns *columns, int column,
					   Datum value);

#endif
