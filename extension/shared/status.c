/*
 * status.c: haul.background, what runs for the current database.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "shared/database.h"
#include "shared/waiter.h"

PG_FUNCTION_INFO_V1(haul_background);

Datum
haul_background(PG_FUNCTION_ARGS)
{
	TupleDesc description;
	DatabaseStatus status;
	Datum values[6];
	bool nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "haul._background() must return a record");
	database_status(&status);
	values[0] = BoolGetDatum(haul_is_preloaded());
	values[1] = Int32GetDatum(status.launcher_pid);
	nulls[1] = status.launcher_pid == 0;
	values[2] = Int32GetDatum(status.worker_pid);
	nulls[2] = status.worker_pid == 0;
	values[3] = BoolGetDatum(status.served);
	values[4] = Int32GetDatum(haul_is_preloaded() ? waiter_count(MyDatabaseId) : 0);
	values[5] = Int64GetDatum(haul_is_preloaded() ? (int64) waiter_wakeups() : 0);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
}
