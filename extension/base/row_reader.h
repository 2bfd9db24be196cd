/*
 * row_reader.h: rows of our small tables, by index, as they are now.
 */
#ifndef HAUL_ROW_READER_H
#define HAUL_ROW_READER_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "utils/snapshot.h"

#include "base/catalog.h"
#include "base/columns.h"

/* A scan that sees everything committed by now, whatever the isolation level. */
typedef struct RowReader
{
	Relation table;
	Relation index;
	Snapshot snapshot;
	IndexScanDesc scan;
	TupleTableSlot *row;
} RowReader;

extern void row_reader_open(RowReader *reader, Oid table, HaulIndex index, Columns *columns,
							LOCKMODE mode, ScanKey keys, int nkeys);

/* The next row, all columns fetched; NULL after the last. */
extern TupleTableSlot *row_reader_next(RowReader *reader);

extern void row_reader_close(RowReader *reader);

#endif
