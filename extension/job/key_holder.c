/*
 * key_holder.c: who has a unique key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"

#include "base/compat.h"
#include "base/owner.h"

PG_FUNCTION_INFO_V1(haul_key_holder);

/* haul._key_holder(): as the owner, telling the caller only what it may know. */
Datum
haul_key_holder(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	TupleDesc description;
	Datum results[2];
	bool result_nulls[2];

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "haul._key_holder() must return a record");
	haul_query_as_owner(
		"SELECT max(id) FILTER (WHERE enqueued_by = current_setting('haul.enqueuer')"
		" OR has_table_privilege(current_setting('haul.enqueuer')::name,"
		" 'haul.jobs'::text, 'SELECT'::text)), count(*) > 0"
		" FROM haul.jobs WHERE kind = $1 AND unique_key = $2",
		lengthof(types), types, values, NULL, results, result_nulls);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), results, result_nulls));
}
