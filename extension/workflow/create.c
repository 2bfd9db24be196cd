/*
 * create.c: makes a workflow, with the rights of the owner, for the caller.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rls.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"

PG_FUNCTION_INFO_V1(haul_create_workflow);

/* haul._workflow(): as the owner, for the caller. */
Datum
haul_create_workflow(PG_FUNCTION_ARGS)
{
	Oid types[] = {JSONBOID, TEXTOID};
	Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	char nulls[] = {PG_ARGISNULL(0) ? 'n' : ' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};
	TupleDesc description;
	Datum results[2];
	bool result_nulls[2];

	/* the owner, who enqueues them, is above such policies */
	if (check_enable_rls(haul_catalog()->jobs, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a workflow cannot be enqueued under row-level security"),
						errdetail("A policy on haul.jobs applies to role \"%s\".",
								  GetUserNameFromId(GetUserId(), false))));
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "haul._workflow() must return a record");
	haul_query_as_owner("SELECT workflow_id, job_ids FROM haul._create_workflow($1, $2)",
						lengthof(types), types, values, nulls, results, result_nulls);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), results, result_nulls));
}
