/*
 * register.c: a worker makes itself known.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/fmgrprotos.h"

#include "base/compat.h"
#include "base/owner.h"

PG_FUNCTION_INFO_V1(haul_register_worker);

/* In C, since the row is the owner's to make, who must know for whom he makes it. */
Datum
haul_register_worker(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, JSONBOID, NAMEOID};
	Datum values[] = {
		PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0),
		PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
		DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false))),
	};
	char nulls[] = {PG_ARGISNULL(0) ? 'n' : ' ', PG_ARGISNULL(1) ? 'n' : ' ', ' ', '\0'};
	Datum id;
	bool isnull;

	PreventCommandDuringRecovery("haul.register_worker()");
	PreventCommandIfReadOnly("haul.register_worker()");
	haul_query_as_owner("SELECT haul._register_worker($1, $2, $3)", lengthof(values), types, values,
						nulls, &id, &isnull);
	/* Ids are drawn from a sequence, whose step a crash would take back with a commit that was not
	 * flushed; then another worker would have the id. */
	ForceSyncCommit();
	PG_RETURN_DATUM(id);
}
