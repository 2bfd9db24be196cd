/*
 * additions.c: what others added to a table of ours, whose rows C writes: columns with defaults,
 * generated columns, constraints.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"

#include "base/compat.h"
#include "base/additions.h"

struct Additions
{
	ResultRelInfo *relation;
	EState *estate;
	int ndefaults;
	int *places; /* of the columns with a default */
	ExprState **defaults;
};

bool
additions_follow(Relation table)
{
	const TupleConstr *constraints = RelationGetDescr(table)->constr;

	return constraints != NULL && (constraints->num_check > 0 || constraints->has_generated_stored);
}

void
additions_compute(ResultRelInfo *relation, EState *estate, TupleTableSlot *row, CmdType command)
{
	const TupleConstr *constraints = row->tts_tupleDescriptor->constr;

	if (constraints == NULL)
		return;
	if (constraints->has_generated_stored)
		ExecComputeStoredGenerated(relation, estate, row, command);
	ExecConstraints(relation, row, estate);
}

bool
additions_exist(Relation table, const Columns *columns)
{
	return RelationGetNumberOfAttributes(table) > columns_count(columns) || additions_follow(table);
}

Additions *
additions_open(Relation table, const Columns *columns, ResultRelInfo *relation, EState *estate)
{
	Additions *additions;
	TupleDesc description = RelationGetDescr(table);

	if (!additions_exist(table, columns))
		return NULL;
	additions = palloc0(sizeof(Additions));
	additions->relation = relation;
	additions->estate = estate;
	additions->places = palloc(description->natts * sizeof(int));
	additions->defaults = palloc(description->natts * sizeof(ExprState *));
	for (int place = 0; place < description->natts; place++)
	{
		Form_pg_attribute attribute = TupleDescAttr(description, place);
		Node *value;

		if (attribute->attisdropped || attribute->attgenerated != '\0' ||
			columns_has(columns, place))
			continue;
		value = build_column_default(table, place + 1);
		if (value == NULL)
			continue;
		additions->places[additions->ndefaults] = place;
		additions->defaults[additions->ndefaults++] =
			ExecInitExpr(expression_planner((Expr *) value), NULL);
	}
	return additions;
}

void
additions_fill_in(Additions *additions, TupleTableSlot *row)
{
	ExprContext *context = GetPerTupleExprContext(additions->estate);

	for (int i = 0; i < additions->ndefaults; i++)
	{
		int place = additions->places[i];
		MemoryContext caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(additions->estate));

		row->tts_values[place] =
			ExecEvalExpr(additions->defaults[i], context, &row->tts_isnull[place]);
		MemoryContextSwitchTo(caller);
	}
	ExecStoreVirtualTuple(row);
	additions_compute(additions->relation, additions->estate, row, CMD_INSERT);
}
