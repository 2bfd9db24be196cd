/*
 * restore.c: whether rows come from a dump.
 *
 * Rows that are restored keep what otherwise only the server sets. So it matters that nobody else
 * can bring this about, by having the owner's functions run inside of a COPY of one's own, say.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/restore.h"

/* Dumps name tables with their schema. */
static bool
is_copy_into(const PlannedStmt *statement, const char *name)
{
	const CopyStmt *copy = (const CopyStmt *) statement->utilityStmt;

	return copy != NULL && IsA(copy, CopyStmt) && copy->is_from && copy->relation != NULL &&
		   copy->relation->schemaname != NULL && strcmp(copy->relation->schemaname, "haul") == 0 &&
		   strcmp(copy->relation->relname, name) == 0;
}

/* pg_dump --inserts. Every dump begins with the setting, and nothing else has it. */
static bool
is_insert_of_dump_into(const PlannedStmt *statement, Oid table)
{
	return statement->commandType == CMD_INSERT && !check_function_bodies &&
		   haul_result_relation(statement) == table;
}

/* With the rights of the session, or of its SET ROLE: not inside of SECURITY DEFINER and the like,
 * nor in another trigger. */
static bool
is_done_by_owner(void)
{
	return GetUserId() == GetOuterUserId() && !InLocalUserIdChange() &&
		   has_privs_of_role(GetUserId(), haul_catalog()->owner) &&
		   DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) <= 1;
}

bool
restore_into(Oid table, const char *name)
{
	const PlannedStmt *statement;

	if (ActivePortal == NULL || list_length(ActivePortal->stmts) != 1)
		return false;
	statement = linitial_node(PlannedStmt, ActivePortal->stmts);
	return (is_copy_into(statement, name) || is_insert_of_dump_into(statement, table)) &&
		   is_done_by_owner();
}

PG_FUNCTION_INFO_V1(haul_is_restoring);

/* haul._is_restoring(regclass), for triggers in SQL */
Datum
haul_is_restoring(PG_FUNCTION_ARGS)
{
	Oid table = PG_GETARG_OID(0);

	PG_RETURN_BOOL(restore_into(table, get_rel_name(table)));
}
