/*
 * call.c: opens and closes calls that change jobs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/settings.h"
#include "calls/call.h"
#include "rows/queue.h"
#include "shared/database.h"
#include "workflow/consequence.h"

Call *
call_open(const char *command)
{
	Call *call = palloc0(sizeof(Call));

	PreventCommandDuringRecovery(command);
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

/* ---- one by one ---- */

static char *failure = NULL; /* the first one, in TopMemoryContext */

static void
keep_failure(int64 job, const ErrorData *error)
{
	if (failure == NULL)
		failure = MemoryContextStrdup(TopMemoryContext,
									  psprintf("job " INT64_FORMAT ": %s (%s)", job, error->message,
											   unpack_sql_state(error->sqlerrcode)));
}

static bool
in_a_call(const char *command, CallAct act, int64 job, void *arg)
{
	Call *call = call_open(command);
	bool done;

	call_next_job(call);
	done = act(call, job, arg);
	call_close(call);
	return done;
}

static CallOutcome
apart(const char *command, CallAct act, int64 job, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		done = in_a_call(command, act, job, arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return done ? CALL_DONE : CALL_NOTHING;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	keep_failure(job, error);
	return CALL_FAILED;
}

CallOutcome
call_for_job(Call *call, const char *command, CallAct act, int64 job, void *arg)
{
	call_next_job(call);
	if (haul_one_by_one)
		return apart(command, act, job, arg);
	return act(call, job, arg) ? CALL_DONE : CALL_NOTHING;
}

char *
call_take_failure(void)
{
	char *taken = failure == NULL ? NULL : pstrdup(failure);

	if (failure != NULL)
		pfree(failure);
	failure = NULL;
	return taken;
}

PG_FUNCTION_INFO_V1(haul_take_failure);

Datum
haul_take_failure(PG_FUNCTION_ARGS)
{
	char *taken = call_take_failure();

	if (taken == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(taken));
}
