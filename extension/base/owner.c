/*
 * owner.c: commands that run with the rights of the extension's owner.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "base/settings.h"

/* Who was at work before the owner was. */
typedef struct Caller
{
	Oid user;
	int context;
	int settings;
} Caller;

/* In an SPI connection that back_to_caller() closes. */
static Caller
run_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Caller caller;
	const char *enqueuer =
		haul_enqueuer[0] != '\0' ? pstrdup(haul_enqueuer) : GetUserNameFromId(GetUserId(), false);

	/*
	 * The owner must not run what the caller's search_path finds. An error leaves
	 * the old user and the old settings to the abort of the (sub)transaction.
	 */
	GetUserIdAndSecContext(&caller.user, &caller.context);
	SetUserIdAndSecContext(haul_catalog()->owner, caller.context | SECURITY_LOCAL_USERID_CHANGE);
	caller.settings = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* triggers of ours fire, whatever a database sets for all of its sessions */
	(void) set_config_option("session_replication_role", "origin", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("haul.enqueuer", enqueuer, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	SPI_connect();
	if (SPI_execute_with_args(command, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(SPI_result));
	return caller;
}

static void
back_to_caller(Caller caller)
{
	SPI_finish();
	AtEOXact_GUC(true, caller.settings);
	SetUserIdAndSecContext(caller.user, caller.context);
}

uint64
haul_run_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Caller caller = run_as_owner(command, nargs, types, values, nulls);
	uint64 rows = SPI_processed;

	back_to_caller(caller);
	return rows;
}

void
haul_query_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls,
					Datum *results, bool *result_nulls)
{
	MemoryContext context = CurrentMemoryContext;
	Caller caller = run_as_owner(command, nargs, types, values, nulls);
	TupleDesc columns;

	if (SPI_processed != 1)
		elog(ERROR, "\"%s\" returned " UINT64_FORMAT " rows", command, SPI_processed);
	columns = SPI_tuptable->tupdesc;
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], columns, i + 1, &result_nulls[i]);

		if (!result_nulls[i])
		{
			MemoryContext spi = MemoryContextSwitchTo(context);

			results[i] = datumCopy(value, column->attbyval, column->attlen);
			MemoryContextSwitchTo(spi);
		}
	}
	back_to_caller(caller);
}
