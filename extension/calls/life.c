/*
 * life.c: signs of life.
 *
 * Every call of a worker is one. haul.heartbeat() is for those who have nothing else to say.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "calls/life.h"
#include "calls/offer.h"
#include "rows/heartbeat.h"
#include "rows/worker.h"
#include "shared/database.h"
#include "shared/waiter.h"

#define NOTE_INTERVAL USECS_PER_SEC

/* What this session has noted lately; a pooler's session serves many workers. */
static struct
{
	int64 worker;
	TimestampTz at;
} noted[16];

void
life_sign(int64 worker)
{
	int place = (uint64) worker % lengthof(noted);
	TimestampTz now = GetCurrentTimestamp();

	if ((noted[place].worker == worker && now >= noted[place].at &&
		 now - noted[place].at < NOTE_INTERVAL) ||
		RecoveryInProgress())
		return;
	noted[place].worker = worker;
	noted[place].at = now;
	heartbeat_note_in_passing(worker);
	database_want_watch();
}

static void
check_status(text *status)
{
	char *name;

	if (status == NULL)
		return;
	name = text_to_cstring(status);
	if (strcmp(name, "running") != 0 && strcmp(name, "draining") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown worker status \"%s\"", name),
						errhint("A worker is running or draining.")));
}

PG_FUNCTION_INFO_V1(haul_heartbeat);

Datum
haul_heartbeat(PG_FUNCTION_ARGS)
{
	int32 busy = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	text *status = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	Beat beat = {.busy = PG_ARGISNULL(1) ? NULL : &busy, .status = status};
	bool owns_session = !PG_ARGISNULL(3) && PG_GETARG_INT32(3) == MyProcPid;
	Worker *worker;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	PreventCommandDuringRecovery("haul.heartbeat()");
	check_status(status);
	worker = worker_find(PG_GETARG_INT64(0));
	if (worker == NULL || !heartbeat_note(worker->id, &beat))
		PG_RETURN_BOOL(false);
	waiter_bind(worker, owns_session);
	database_want_watch();
	/* a worker that is draining waits for nothing */
	if (status != NULL && strcmp(text_to_cstring(status), "draining") == 0 && waiter_is_waiting())
		waiter_leave();
	if (worker->is_lost && !XactReadOnly)
		offer_end(worker->id, OFFER_WORKER_RETURNED);
	PG_RETURN_BOOL(true);
}
