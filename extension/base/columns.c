/*
 * columns.c: where the columns of our tables stand.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/inval.h"

#include "base/compat.h"
#include "base/columns.h"

static Columns *found = NULL; /* all that were ever found */

/* The places stay as they are for whoever has the table locked: no column can come or go meanwhile.
 */
static void
columns_forget(Datum arg, Oid relation)
{
	for (Columns *columns = found; columns != NULL; columns = columns->next)
		if (!OidIsValid(relation) || columns->table == relation)
			columns->table = InvalidOid;
}

static void
columns_remember(Columns *columns)
{
	if (found == NULL)
		CacheRegisterRelcacheCallback(columns_forget, (Datum) 0);
	for (Columns *known = found; known != NULL; known = known->next)
		if (known == columns)
			return;
	columns->next = found;
	found = columns;
}

int
columns_count(const Columns *columns)
{
	int count = 0;

	while (count < columns->most && columns->list[count].name != NULL)
		count++;
	return count;
}

static bool
is_called(Form_pg_attribute attribute, const char *name)
{
	return !attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0;
}

static int
place_of(const Column *column, int guess, Relation table)
{
	TupleDesc description = RelationGetDescr(table);
	int place = guess;
	Form_pg_attribute attribute;

	/* hardly ever anywhere else */
	if (guess >= description->natts || !is_called(TupleDescAttr(description, guess), column->name))
		for (place = 0; place < description->natts &&
						!is_called(TupleDescAttr(description, place), column->name);)
			place++;
	if (place == description->natts)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("haul.%s has no column \"%s\"", RelationGetRelationName(table),
							   column->name),
						errhint("If it was dropped or renamed, undo that; else run ALTER EXTENSION "
								"pg_haul UPDATE.")));
	attribute = TupleDescAttr(description, place);
	if (attribute->atttypid != column->type)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of haul.%s has the type %s, not %s", column->name,
					RelationGetRelationName(table), format_type_be(attribute->atttypid),
					format_type_be(column->type)),
			 errhint("If it was changed, undo that; else run ALTER EXTENSION pg_haul UPDATE.")));
	return place;
}

void
columns_find(Columns *columns, Relation table)
{
	if (columns->table == RelationGetRelid(table))
		return;
	columns_remember(columns);
	columns->table = InvalidOid;
	for (int i = 0, count = columns_count(columns); i < count; i++)
		columns->places[i] = place_of(&columns->list[i], i, table);
	columns->table = RelationGetRelid(table);
}

bool
columns_has(const Columns *columns, int place)
{
	for (int i = 0; i < columns_count(columns); i++)
		if (columns->places[i] == place)
			return true;
	return false;
}
