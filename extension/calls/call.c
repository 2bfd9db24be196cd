/*
 * call.c: opens and closes calls that change jobs.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "calls/call.h"
#include "rows/queue.h"
#include "shared/database.h"
#include "workflow/consequence.h"

Call *
call_open(const char *command)
{
	Call *call = palloc0(sizeof(Call));

	PreventCommandIfReadOnly(command);
	PreventCommandIfParallelMode(command);
	queue_forget();
	database_note_activity();
	call->now = GetCurrentTimestamp();
	call->generation = lane_generation();
	call->store = job_store_open();
	call->ledger = ledger_open(call->now);
	call->history = history_open(call->now);
	call->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "pg_haul job", ALLOCSET_DEFAULT_SIZES);
	return call;
}

void
call_close(Call *call)
{
	MemoryContextSwitchTo(MemoryContextGetParent(call->scratch));
	consequences_tell(call);
	history_close(call->history);
	ledger_close(call->ledger);
	job_store_close(call->store);
	MemoryContextDelete(call->scratch);
	pfree(call);
}
