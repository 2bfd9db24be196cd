/*
 * row_reader.c: rows of our small tables, by index, as they are now.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/row_reader.h"

void
row_reader_open(RowReader *reader, Oid table, HaulIndex index, Columns *columns, LOCKMODE mode,
				ScanKey keys, int nkeys)
{
	reader->table = table_open(table, mode);
	columns_find(columns, reader->table);
	reader->index = haul_index_open(reader->table, index);
	reader->snapshot = RegisterSnapshot(GetLatestSnapshot());
	reader->row = table_slot_create(reader->table, NULL);
	reader->scan = haul_index_beginscan(reader->table, reader->index, reader->snapshot, nkeys);
	index_rescan(reader->scan, keys, nkeys, NULL, 0);
}

TupleTableSlot *
row_reader_next(RowReader *reader)
{
	if (!index_getnext_slot(reader->scan, ForwardScanDirection, reader->row))
		return NULL;
	slot_getallattrs(reader->row);
	return reader->row;
}

void
row_reader_close(RowReader *reader)
{
	index_endscan(reader->scan);
	ExecDropSingleTupleTableSlot(reader->row);
	UnregisterSnapshot(reader->snapshot);
	index_close(reader->index, AccessShareLock);
	table_close(reader->table, NoLock);
}
