/*
 * background.c: what background workers have in common.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/background.h"

static bool extension_gone = false;
static bool in_the_way = false;

BackgroundWorker
background_worker(const char *function, Datum argument, const char *type, const char *name, ...)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = argument,
	};
	va_list arguments;

	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "pg_haul");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "%s", function);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "%s", type);
	va_start(arguments, name);
	vsnprintf(worker.bgw_name, sizeof(worker.bgw_name), name, arguments);
	va_end(arguments);
	return worker;
}

void
background_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

void
background_settings(void)
{
	/* What a database, or ALTER ROLE ALL, sets for sessions must not reach what is done here. */
	static const struct
	{
		const char *name;
		const char *value;
	} pinned[] = {
		{"role", "none"},
		{"session_replication_role", "origin"},
		{"search_path", "pg_catalog, pg_temp"},
		{"application_name", "pg_haul"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"lock_timeout", "0"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"}, /* 17 and later */
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"row_security", "on"},
		{"standard_conforming_strings", "on"},
		{"datestyle", "ISO"},
		{"intervalstyle", "postgres"},
		{"timezone", "UTC"},
		{"plan_cache_mode", "auto"},
		{"check_function_bodies", "on"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
		if (GetConfigOption(pinned[i].name, true, false) != NULL)
			SetConfigOption(pinned[i].name, pinned[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
background_check(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
background_begin_anyhow(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactReadOnly = false; /* whatever the default is, which stays to be seen (rows/watch.c) */
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* DROP EXTENSION locks the extension before its tables: so must we, or the two could wait for each
 * other. */
static bool
extension_try_lock(Oid extension)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
	return LockAcquire(&tag, AccessShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool
background_begin(void)
{
	Oid extension;

	background_begin_anyhow();
	extension = get_extension_oid("pg_haul", true);
	extension_gone = !OidIsValid(extension);
	in_the_way = !extension_gone && !extension_try_lock(extension);
	if (extension_gone || in_the_way)
	{
		background_commit();
		return false;
	}
	return true;
}

bool
background_database_is_claimed(void)
{
	LOCKTAG tag;
	bool free;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	background_begin_anyhow();
	free = LockAcquire(&tag, RowExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
	background_commit();
	return !free;
}

bool
background_extension_gone(void)
{
	return extension_gone;
}

bool
background_is_in_the_way(void)
{
	return in_the_way;
}

void
background_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}
