/*
 * watch.c: looks at who is silent.
 *
 * A worker is silent when its last sign of life is older than haul.worker_timeout, and than the
 * last LOOKS looks, which are at least a fifth of the timeout apart. Time in which nobody looked
 * says nothing: a machine was frozen, the server was away, the clock was set forward. Nor does a
 * time in which workers could not have given a sign: there are no looks then, and those before
 * count no more. So a worker has had several chances in a row, in front of a watcher that was
 * awake.
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/columns.h"
#include "base/owner.h"
#include "base/row_reader.h"
#include "base/row_writer.h"
#include "base/settings.h"

#define LOOKS 4

enum WatchColumn
{
	WATCH_ONE,
	WATCH_LOOKS,
	WATCH_AWAKE_AT,
};

static const Column watch_list[] = {
	[WATCH_ONE] = {"one", BOOLOID},
	[WATCH_LOOKS] = {"looks", TIMESTAMPTZARRAYOID},
	[WATCH_AWAKE_AT] = {"awake_at", TIMESTAMPTZOID},
	{NULL, InvalidOid},
};
static Columns watch_columns = COLUMNS(watch_list);

/* Whether a worker could say now that it lives. */
static bool
can_be_heard(void)
{
	return !DefaultXactReadOnly &&
		   ConditionalLockRelationOid(haul_catalog()->workers, RowExclusiveLock);
}

static void
take_note(TimestampTz *looks, TimestampTz *awake_at, TimestampTz now)
{
	TimestampTz timeout = haul_worker_timeout * USECS_PER_SEC;
	TimestampTz last = looks[LOOKS - 1];
	TimestampTz before = looks[LOOKS - 2];
	bool heard = can_be_heard();
	/* where only a timer looks, once a minute, that is no sign of having been away */
	bool usual = !TIMESTAMP_IS_NOBEGIN(before) && now - last <= 2 * (last - before);

	if (!heard || now < last) /* the clock was set back */
		for (int i = 0; i < LOOKS; i++)
			looks[i] = DT_NOBEGIN;
	if (heard && now - timeout > last && !usual)
		*awake_at = now;
	if (heard && now - timeout / (LOOKS + 1) >= looks[LOOKS - 1])
	{
		memmove(&looks[0], &looks[1], (LOOKS - 1) * sizeof(TimestampTz));
		looks[LOOKS - 1] = now;
	}
}

PG_FUNCTION_INFO_V1(haul_look);

/* Looks, and notes it in haul._watch. */
Datum
haul_look(PG_FUNCTION_ARGS)
{
	int chosen[] = {WATCH_LOOKS, WATCH_AWAKE_AT};
	Datum values[lengthof(chosen)];
	Oid types[] = {TIMESTAMPTZARRAYOID, TIMESTAMPTZOID};
	Datum elements[LOOKS];
	TimestampTz looks[LOOKS];
	TimestampTz awake_at;
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	ArrayType *stored;
	bool written;

	PreventCommandDuringRecovery("looking at workers");
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_BOOLEQ, BoolGetDatum(true));
	row_reader_open(&reader, haul_catalog()->watch, HAUL_WATCH_PKEY, &watch_columns,
					RowExclusiveLock, &key, 1);
	row = row_reader_next(&reader);
	stored =
		row == NULL ? NULL : DatumGetArrayTypePCopy(column_value(&watch_columns, row, WATCH_LOOKS));
	if (stored == NULL || ARR_NDIM(stored) != 1 || ARR_DIMS(stored)[0] != LOOKS ||
		ARR_HASNULL(stored))
		elog(ERROR, "haul._watch lacks its row");
	memcpy(looks, ARR_DATA_PTR(stored), sizeof(looks));
	awake_at = DatumGetTimestampTz(column_value(&watch_columns, row, WATCH_AWAKE_AT));

	take_note(looks, &awake_at, GetCurrentTimestamp());
	for (int i = 0; i < LOOKS; i++)
		elements[i] = TimestampTzGetDatum(looks[i]);
	values[0] = PointerGetDatum(construct_array(
		elements, LOOKS, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = TimestampTzGetDatum(awake_at);
	written = row_overwrite(reader.table, row, &watch_columns, lengthof(chosen), chosen, values);
	row_reader_close(&reader);
	/* somebody has added a column: after this it fits again */
	if (!written)
		haul_run_as_owner("UPDATE haul._watch SET looks = $1, awake_at = $2", lengthof(values),
						  types, values, NULL);
	PG_RETURN_VOID();
}
