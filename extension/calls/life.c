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
#include "base/catalog.h"
#include "calls/life.h"
#include "calls/offer.h"
#include "rows/heartbeat.h"
#include "rows/worker.h"
#include "shared/database.h"
#include "shared/waiter.h"

#define NOTE_INTERVAL USECS_PER_SEC

/* A worker that this session serves; a pooler's session serves many. */
typedef struct Speaker
{
	Oid table; /* haul.workers, which is another after CREATE EXTENSION */
	int64 worker;
	Oid role; /* its owner, as whom it called; else 0 */
	TimestampTz noted_at;
} Speaker;

/* The worker, which calls; raises 42501 when it is another role's. That its owner is the current
 * role is asked once: an owner never changes. */
static Speaker *
identify(int64 id)
{
	static Speaker speakers[16];
	Speaker *speaker = &speakers[(uint64) id % lengthof(speakers)];
	Oid table = haul_catalog()->workers;
	Worker *worker;

	if (speaker->worker == id && speaker->table == table && speaker->role == GetUserId())
		return speaker;
	worker = worker_find(id);
	if (worker != NULL)
		worker_refuse_others(worker);
	if (speaker->worker != id || speaker->table != table)
		*speaker = (Speaker){.table = table, .worker = id};
	speaker->role = worker != NULL && worker->owner == GetUserId() ? worker->owner : InvalidOid;
	return speaker;
}

void
life_sign(int64 worker)
{
	Speaker *speaker = identify(worker);
	TimestampTz now = GetCurrentTimestamp();

	if ((now >= speaker->noted_at && now - speaker->noted_at < NOTE_INTERVAL) ||
		RecoveryInProgress())
		return;
	speaker->noted_at = now;
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
	if (worker != NULL)
		worker_refuse_others(worker);
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
