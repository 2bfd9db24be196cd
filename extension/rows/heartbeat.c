/*
 * heartbeat.c: signs of life in haul.workers.
 *
 * That a worker lives is true whatever becomes of the transaction it is said in, and of
 * no interest once it is said again. So it makes no new version of the worker's row: it is written
 * over the last one, as the server itself keeps the statistics in pg_class. However
 * long somebody holds an old snapshot, there are no dead versions for checkouts,
 * maintenance and the next heartbeat to walk past; and a heartbeat waits for nobody who
 * has the row locked, and can be given where transactions are read-only.
 *
 * Where somebody has an index or a trigger on these columns, a heartbeat is an UPDATE.
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/columns.h"
#include "base/owner.h"
#include "base/row_reader.h"
#include "base/row_writer.h"
#include "rows/heartbeat.h"

enum
{
	LAST_HEARTBEAT_AT,
	BUSY,
	STATUS,
};

static const Column beat_list[] = {
	[LAST_HEARTBEAT_AT] = {"last_heartbeat_at", TIMESTAMPTZOID},
	[BUSY] = {"busy", INT4OID},
	[STATUS] = {"status", TEXTOID},
	{NULL, InvalidOid},
};
static Columns beat_columns = COLUMNS(beat_list);

/* False when it could not be written in place. */
static bool
overwrite(int64 worker, const Beat *beat, bool *found)
{
	int chosen[] = {LAST_HEARTBEAT_AT, 0, 0};
	Datum values[] = {TimestampTzGetDatum(GetCurrentTimestamp()), 0, 0};
	int count = 1;
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	bool written = false;

	if (beat->busy != NULL)
	{
		chosen[count] = BUSY;
		values[count++] = Int32GetDatum(*beat->busy);
	}
	if (beat->status != NULL)
	{
		chosen[count] = STATUS;
		values[count++] = PointerGetDatum(beat->status);
	}
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(worker));
	row_reader_open(&reader, haul_catalog()->workers, HAUL_WORKERS_PKEY, &beat_columns,
					RowExclusiveLock, &key, 1);
	row = row_reader_next(&reader);
	*found = row != NULL;
	if (row != NULL)
		written = row_overwrite(reader.table, row, &beat_columns, count, chosen, values);
	row_reader_close(&reader);
	return written;
}

static bool
update(int64 worker, const Beat *beat)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID};
	Datum values[] = {Int64GetDatum(worker), beat->busy == NULL ? 0 : Int32GetDatum(*beat->busy),
					  PointerGetDatum(beat->status)};
	char nulls[] = {' ', beat->busy == NULL ? 'n' : ' ', beat->status == NULL ? 'n' : ' ', '\0'};

	return haul_run_as_owner("UPDATE haul.workers SET last_heartbeat_at = clock_timestamp(),"
							 " busy = coalesce($2, busy), status = coalesce($3, status)"
							 " WHERE id = $1",
							 lengthof(values), types, values, nulls) > 0;
}

bool
heartbeat_note(int64 worker, const Beat *beat)
{
	Beat without_status = {.busy = beat->busy};
	bool found;

	if (overwrite(worker, beat, &found) || !found)
		return found;
	/* one status may be longer than the other */
	if (XactReadOnly && overwrite(worker, &without_status, &found))
		return true;
	return update(worker, beat);
}

void
heartbeat_note_in_passing(int64 worker)
{
	Beat silent = {NULL, NULL};
	bool found;

	if (ConditionalLockRelationOid(haul_catalog()->workers, RowExclusiveLock))
		(void) overwrite(worker, &silent, &found);
}
