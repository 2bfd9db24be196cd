/*
 * columns.h: where the columns of our tables stand.
 *
 * They are found by name and type. Others may have added columns, and dropped some again, and what
 * an update of the extension adds comes behind those.
 */
#ifndef HAUL_COLUMNS_H
#define HAUL_COLUMNS_H

#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#define MAX_COLUMNS 64

typedef struct Column
{
	const char *name;
	Oid type;
} Column;

/* What is known of the columns of a table, or of one leaf of a partitioned table at a time: static,
 * and made with COLUMNS(). */
typedef struct Columns
{
	const Column *list;		   /* by the enum of the table; the last one has no name, */
	int most;				   /* or is the one before this */
	Oid table;				   /* for which the places hold; invalid: none */
	int16 places[MAX_COLUMNS]; /* of each in the values of a slot */
	struct Columns *next;	   /* that were ever found */
} Columns;

#define COLUMNS(list) COLUMNS_UP_TO(list, MAX_COLUMNS)
#define COLUMNS_UP_TO(list, most)                                                                  \
	{                                                                                              \
		(list), (most), InvalidOid, {0}, NULL                                                      \
	}

/* Makes sure that the places hold for this table, which is open and locked: they do as long as it
 * is. Raises an error when a column is missing, or has another type. */
extern void columns_find(Columns *columns, Relation table);

/* How many of them are ours. */
extern int columns_count(const Columns *columns);

/* Whether the column, numbered from 0 as in a slot, is one of ours. */
extern bool columns_has(const Columns *columns, int place);

/* ---- of a row; all columns must have been fetched ---- */

static inline Datum
column_value(const Columns *columns, const TupleTableSlot *row, int column)
{
	return row->tts_values[columns->places[column]];
}

static inline bool
column_is_null(const Columns *columns, const TupleTableSlot *row, int column)
{
	return row->tts_isnull[columns->places[column]];
}

/* As the server numbers it. */
static inline AttrNumber
column_number(const Columns *columns, int column)
{
	return columns->places[column] + 1;
}

#endif
