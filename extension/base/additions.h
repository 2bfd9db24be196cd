/*
 * additions.h: what others added to a table of ours, whose rows C writes: columns with defaults,
 * generated columns, constraints.
 */
#ifndef HAUL_ADDITIONS_H
#define HAUL_ADDITIONS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "base/columns.h"

typedef struct Additions Additions;

/* ---- whatever is done to a row ---- */

/* Whether something follows from the values of a row, or is demanded of them: generated columns,
 * checks. */
extern bool additions_follow(Relation table);

/* Computes and checks that. The relation is one in the range table of the state. */
extern void additions_compute(ResultRelInfo *relation, EState *estate, TupleTableSlot *row,
							  CmdType command);

/* ---- new rows, for which columns may have defaults, too ---- */

/* Whether there are any additions: then a state and a relation in its range table are needed. */
extern bool additions_exist(Relation table, const Columns *columns);

/* NULL when there are none. Lives in the current memory context, as long as the table is open. */
extern Additions *additions_open(Relation table, const Columns *columns, ResultRelInfo *relation,
								 EState *estate);

/* Stores a new row, whose slot has the values of our columns: fills in the others, and checks it.
 * What is filled in lives in the state's memory for one tuple, until the slot is materialized. */
extern void additions_fill_in(Additions *additions, TupleTableSlot *row);

#endif
