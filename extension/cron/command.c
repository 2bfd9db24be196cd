/*
 * command.c: a process that runs the command of a schedule.
 *
 * Its session is that of the schedule's owner from the beginning, as if he had
 * logged in: there is no other role to which anything could lead back. It runs
 * the text as the server runs a query of a client (exec_simple_query), and ends.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/cmdtag.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "base/compat.h"
#include "base/background.h"
#include "cron/command.h"

static CommandOrder *order;
static emit_log_hook_type other_hook;

/* ---- what is reported ---- */

static void
command_report(CommandOutcome outcome, const char *message)
{
	int length = pg_mbcliplen(message, strlen(message), COMMAND_MESSAGE - 1);

	memcpy(order->message, message, length);
	order->message[length] = '\0';
	/* an error must not lead to another, of conversion */
	if (GetDatabaseEncoding() != order->encoding)
		for (char *c = order->message; *c != '\0'; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
	order->outcome = outcome;
}

/* As psql shows it. */
static void
report_error(const ErrorData *error)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s:  %s", error->elevel == ERROR ? "ERROR" : "FATAL", error->message);
	if (error->detail != NULL)
		appendStringInfo(&text, "\nDETAIL:  %s", error->detail);
	if (error->hint != NULL)
		appendStringInfo(&text, "\nHINT:  %s", error->hint);
	if (error->context != NULL)
		appendStringInfo(&text, "\nCONTEXT:  %s", error->context);
	command_report(COMMAND_FAILED, text.data);
}

/* The end of the process is in no catch block: the server's log is the last that hears of it. */
static void
keep_last_words(ErrorData *error)
{
	if (error->elevel == FATAL && order->outcome == COMMAND_OPEN)
		report_error(error);
	if (other_hook != NULL)
		other_hook(error);
}

/* ---- rows are counted, and nothing else ---- */

typedef struct RowCounter
{
	DestReceiver receiver;
	bool has_rows;
	uint64 rows;
} RowCounter;

static bool
count_row(TupleTableSlot *slot, DestReceiver *self)
{
	((RowCounter *) self)->rows++;
	return true;
}

static void
begin_rows(DestReceiver *self, int operation, TupleDesc rowtype)
{
	((RowCounter *) self)->has_rows = true;
}

static void
ignore_end(DestReceiver *self)
{
}

static void
report_completion(const RowCounter *counter, const QueryCompletion *completion)
{
	const char *tag = GetCommandTagName(completion->commandTag);
	char text[128];

	if (counter->has_rows)
		snprintf(text, sizeof(text), UINT64_FORMAT " %s", counter->rows,
				 counter->rows == 1 ? "row" : "rows");
	else if (completion->commandTag == CMDTAG_INSERT)
		snprintf(text, sizeof(text), "%s 0 " UINT64_FORMAT, tag, completion->nprocessed);
	else if (command_tag_display_rowcount(completion->commandTag))
		snprintf(text, sizeof(text), "%s " UINT64_FORMAT, tag, completion->nprocessed);
	else
		snprintf(text, sizeof(text), "%s", tag);
	/* the last statement's stands; not an outcome yet */
	command_report(COMMAND_OPEN, text);
}

/* ---- statements ---- */

static bool in_transaction_command = false;

static void
begin_transaction_command(void)
{
	if (!in_transaction_command)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		in_transaction_command = true;
	}
	if (StatementTimeout > 0 && !get_timeout_active(STATEMENT_TIMEOUT))
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

static void
end_statement_timeout(void)
{
	if (get_timeout_active(STATEMENT_TIMEOUT))
		disable_timeout(STATEMENT_TIMEOUT, false);
}

static void
end_transaction_command(void)
{
	end_statement_timeout();
	if (in_transaction_command)
		CommitTransactionCommand();
	in_transaction_command = false;
}

static bool
is_to_be_logged(List *statements)
{
	ListCell *cell;

	if (log_statement == LOGSTMT_NONE)
		return false;
	foreach (cell, statements)
		if (log_statement == LOGSTMT_ALL || GetCommandLogLevel(lfirst(cell)) <= log_statement)
			return true;
	return false;
}

static bool
ends_transaction(const Node *statement)
{
	const TransactionStmt *transaction = (const TransactionStmt *) statement;

	return IsA(statement, TransactionStmt) &&
		   (transaction->kind == TRANS_STMT_COMMIT || transaction->kind == TRANS_STMT_PREPARE ||
			transaction->kind == TRANS_STMT_ROLLBACK ||
			transaction->kind == TRANS_STMT_ROLLBACK_TO);
}

static void
check_statement(const Node *statement)
{
	if (IsAbortedTransactionBlockState() && !ends_transaction(statement))
		ereport(ERROR, (errcode(ERRCODE_IN_FAILED_SQL_TRANSACTION),
						errmsg("current transaction is aborted, commands ignored until end of "
							   "transaction block")));
	if (IsA(statement, CopyStmt) && ((const CopyStmt *) statement)->filename == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot COPY to or from the client in a command of a schedule"),
						errhint("There is no client. Use a file or a program on the server.")));
}

static void
run_statement(RawStmt *statement, const char *text, bool in_block)
{
	RowCounter counter = {
		.receiver = {count_row, begin_rows, ignore_end, ignore_end, DestNone},
	};
	CommandTag tag = CreateCommandTag(statement->stmt);
	QueryCompletion completion;
	List *plans;
	Portal portal;
	int16 format = 0;
	bool snapshot;
	MemoryContext caller;

	set_ps_display(GetCommandTagName(tag));
	check_statement(statement->stmt);
	begin_transaction_command();
	if (in_block)
		BeginImplicitTransactionBlock();
	CHECK_FOR_INTERRUPTS();

	/* plans must outlive the transaction that COMMIT or CALL ends */
	caller = MemoryContextSwitchTo(MessageContext);
	snapshot = analyze_requires_snapshot(statement);
	if (snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	plans = pg_plan_queries(pg_analyze_and_rewrite_fixedparams(statement, text, NULL, 0, NULL),
							text, CURSOR_OPT_PARALLEL_OK, NULL);
	if (snapshot)
		PopActiveSnapshot();
	CHECK_FOR_INTERRUPTS();

	portal = CreatePortal("", true, true);
	portal->visible = false;
	PortalDefineQuery(portal, NULL, text, tag, plans, NULL);
	PortalStart(portal, NULL, 0, InvalidSnapshot);
	PortalSetResultFormat(portal, 1, &format);
	MemoryContextSwitchTo(caller);
	(void) haul_portal_run(portal, FETCH_ALL, true, &counter.receiver, &counter.receiver,
						   &completion);
	PortalDrop(portal, false);
	report_completion(&counter, &completion);
}

static void
run_text(const char *text)
{
	MemoryContext caller;
	List *statements;
	ListCell *cell;
	bool logged;
	char duration[32];

	begin_transaction_command();
	caller = MemoryContextSwitchTo(MessageContext);
	text = pg_any_to_server(text, strlen(text), order->encoding);
	debug_query_string = text;
	pgstat_report_activity(STATE_RUNNING, text);
	statements = pg_parse_query(text);
	logged = is_to_be_logged(statements);
	if (logged)
		ereport(LOG, (errmsg("statement: %s", text), errhidestmt(true)));
	MemoryContextSwitchTo(caller);

	if (statements == NIL)
		command_report(COMMAND_OPEN, "0 rows");
	foreach (cell, statements)
	{
		RawStmt *statement = lfirst_node(RawStmt, cell);
		bool several = list_length(statements) > 1;
		bool last = lnext(statements, cell) == NULL;

		run_statement(statement, text, several);
		if (last && several)
			EndImplicitTransactionBlock();
		if (last || IsA(statement->stmt, TransactionStmt))
			end_transaction_command();
		else
		{
			CommandCounterIncrement();
			end_statement_timeout();
		}
	}
	end_transaction_command();

	switch (check_log_duration(duration, logged))
	{
		case 1:
			ereport(LOG, (errmsg("duration: %s ms", duration), errhidestmt(true)));
			break;
		case 2:
			ereport(LOG,
					(errmsg("duration: %s ms  statement: %s", duration, text), errhidestmt(true)));
			break;
	}
	/* the session ends here, and with it the transaction */
	if (IsTransactionOrTransactionBlock())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("the command left a transaction open, which was rolled back"),
						errhint("End it with COMMIT.")));
}

/* ---- the process ---- */

static bool
begin_session(dsm_handle handle)
{
	dsm_segment *segment = dsm_attach(handle);
	PGPROC *runner;

	if (segment == NULL)
		return false; /* the runner is gone */
	order = dsm_segment_address(segment);
	order->pid = MyProcPid;
	/* so that it can be cancelled from now on, the runner writes the number down */
	runner = BackendPidGetProc(MyBgworkerEntry->bgw_notify_pid);
	if (runner != NULL)
		SetLatch(&runner->procLatch);
	other_hook = emit_log_hook;
	emit_log_hook = keep_last_words;

	/* that the role may log in, and connect to the database, is checked here */
	BackgroundWorkerInitializeConnection(NameStr(order->database), NameStr(order->username), 0);
	SetConfigOption("application_name", "pg_haul", PGC_USERSET, PGC_S_DYNAMIC_DEFAULT);
	MessageContext =
		AllocSetContextCreate(TopMemoryContext, "MessageContext", ALLOCSET_DEFAULT_SIZES);
	return true;
}

void
haul_command_main(Datum arg)
{
	background_signals();
	if (!begin_session(DatumGetUInt32(arg)))
		proc_exit(0);

	PG_TRY();
	{
		process_session_preload_libraries();
		run_text(order->text);
		order->outcome = COMMAND_SUCCEEDED;
	}
	PG_CATCH();
	{
		ErrorData *error;

		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		MemoryContextSwitchTo(MessageContext);
		error = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(MessageContext);
		report_error(error);
	}
	PG_END_TRY();
	proc_exit(0);
}
