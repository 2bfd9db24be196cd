/*
 * session_wait.c: how a procedure waits on the server between two transactions.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/portal.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/session_wait.h"
#include "base/times.h"

void
session_refuse_transaction_block(FunctionCallInfo fcinfo, const char *procedure,
								 const char *instead)
{
	CallContext *context = castNode(CallContext, fcinfo->context);

	if (context == NULL || context->atomic)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("%s() cannot run inside a transaction block", procedure),
						errhint("It waits between transactions. Call it in autocommit mode, or %s.",
								instead)));
}

bool
session_is_calling(FunctionCallInfo fcinfo)
{
	PlannedStmt *statement;

	if (ActivePortal == NULL || list_length(ActivePortal->stmts) != 1)
		return false;
	statement = linitial_node(PlannedStmt, ActivePortal->stmts);
	return statement->utilityStmt != NULL && IsA(statement->utilityStmt, CallStmt) &&
		   castNode(CallStmt, statement->utilityStmt)->funcexpr->funcid == fcinfo->flinfo->fn_oid;
}

TimestampTz
session_wait_end(const Interval *wait, const char *argument)
{
	const char *problem = interval_problem(wait, 0);

	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s %s: %s", argument, problem,
					DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(wait))))));
	return time_after(GetCurrentTimestamp(), wait);
}

static void
client_is_gone(void)
{
	ClientConnectionLost = true;
	InterruptPending = true;
}

void
session_wait(long milliseconds, uint32 event)
{
	WaitEvent occurred;

	if (FeBeWaitSet == NULL)
	{
		/* a background worker, which has no client */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
						 event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		return;
	}
	if (WaitEventSetCanReportClosed())
		ModifyWaitEvent(FeBeWaitSet, FeBeWaitSetSocketPos, WL_SOCKET_CLOSED, NULL);
	else
		milliseconds = Min(milliseconds, 1000); /* whatever else the set waits for */
	if (WaitEventSetWait(FeBeWaitSet, milliseconds, &occurred, 1, event) == 0)
		return;
	if (occurred.events & WL_POSTMASTER_DEATH)
		proc_exit(1);
	if (occurred.events & WL_SOCKET_CLOSED)
		client_is_gone();
	if (occurred.events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

void
session_check_client(void)
{
	if (FeBeWaitSet != NULL && WaitEventSetCanReportClosed() && !pq_check_connection())
		client_is_gone();
	CHECK_FOR_INTERRUPTS();
}
