/*
 * heartbeat.c: a worker says that it lives.
 *
 * That is true whatever becomes of the transaction it is said in, and of no interest
 * once it is said again. So a heartbeat makes no new version of the worker's row: it
 * is written over the last one, under the lock of the row, as the server itself keeps
 * the statistics in pg_class. However long somebody holds an old snapshot, there
 * are no dead versions for checkouts, maintenance and the next heartbeat to walk past.
 *
 * Only values of a fixed size that no index knows of can be replaced like this, and
 * no trigger sees it. Otherwise it is an UPDATE.
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/columns.h"
#include "base/owner.h"
#include "base/row_writer.h"

enum
{
	LAST_HEARTBEAT_AT,
	BUSY,
	STATUS,
	BEAT_COLUMNS
};

static const Column beat_list[] = {
	[LAST_HEARTBEAT_AT] = {"last_heartbeat_at", TIMESTAMPTZOID},
	[BUSY] = {"busy", INT4OID},
	[STATUS] = {"status", TEXTOID},
	{NULL},
};
static Columns beat_columns = COLUMNS(beat_list);

typedef struct Beat
{
	int columns[BEAT_COLUMNS]; /* numbers, from 1 */
	Datum values[BEAT_COLUMNS];
} Beat;

/* Whether nothing but the table itself holds, or wants to know of, the values in these columns. */
static bool
may_overwrite(Relation workers, const Beat *beat)
{
	/* first: the description of triggers may move when something is looked up */
	Bitmapset *indexed = haul_indexed_columns(workers);
	const TriggerDesc *triggers = workers->trigdesc;
	const TupleConstr *constraints = RelationGetDescr(workers)->constr;

	if (triggers != NULL &&
		(triggers->trig_update_before_row || triggers->trig_update_after_row ||
		 triggers->trig_update_before_statement || triggers->trig_update_after_statement))
		return false;
	if (constraints != NULL && constraints->has_generated_stored)
		return false;
	for (int i = 0; i < BEAT_COLUMNS; i++)
		if (bms_is_member(beat->columns[i] - FirstLowInvalidHeapAttributeNumber, indexed))
			return false;
	return true;
}

/* Writes the values of the new row over those of the old one; false when they do not fit. */
static bool
overwrite(Relation workers, ItemPointer tid, HeapTuple new)
{
	Buffer buffer = ReadBuffer(workers, ItemPointerGetBlockNumber(tid));
	GenericXLogState *wal;
	Page page;
	ItemId item;
	HeapTupleHeader old;
	bool fits;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	wal = GenericXLogStart(workers);
	page = GenericXLogRegisterBuffer(wal, buffer, 0);
	item = PageGetItemId(page, ItemPointerGetOffsetNumber(tid));
	old = (HeapTupleHeader) PageGetItem(page, item);
	fits = ItemIdGetLength(item) == new->t_len && old->t_hoff == new->t_data->t_hoff;
	if (fits)
	{
		memcpy((char *) old + old->t_hoff, (char *) new->t_data + old->t_hoff,
			   new->t_len - old->t_hoff);
		GenericXLogFinish(wal);
	}
	else
		GenericXLogAbort(wal);
	UnlockReleaseBuffer(buffer);
	return fits;
}

static void
update(int64 id, const Beat *beat)
{
	Oid types[] = {INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID};
	Datum values[] = {Int64GetDatum(id), beat->values[LAST_HEARTBEAT_AT], beat->values[BUSY],
					  beat->values[STATUS]};

	haul_run_as_owner(
		"UPDATE haul.workers SET last_heartbeat_at = $2, busy = $3, status = $4 WHERE id = $1",
		lengthof(values), types, values, NULL);
}

PG_FUNCTION_INFO_V1(haul_beat);

/* What is NULL stays as it was. */
Datum
haul_beat(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	Relation workers;
	TupleTableSlot *row;
	ScanKeyData key;
	bool alive;

	PreventCommandDuringRecovery("haul.heartbeat()");
	workers = table_open(haul_catalog()->workers, RowExclusiveLock);
	row = table_slot_create(workers, NULL);

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	alive = row_lock(workers, HAUL_WORKERS_PKEY, &beat_columns, &key, 1, row);
	if (alive)
	{
		Beat beat;
		bool no_nulls[BEAT_COLUMNS] = {false};
		HeapTuple old = ExecFetchSlotHeapTuple(row, false, NULL);
		HeapTuple new;

		slot_getallattrs(row);
		for (int i = 0; i < BEAT_COLUMNS; i++)
		{
			beat.columns[i] = column_number(&beat_columns, i);
			beat.values[i] = column_value(&beat_columns, row, i);
		}
		if (!PG_ARGISNULL(1))
			beat.values[BUSY] = PG_GETARG_DATUM(1);
		if (!PG_ARGISNULL(2))
			beat.values[STATUS] = PG_GETARG_DATUM(2);
		beat.values[LAST_HEARTBEAT_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
		new = heap_modify_tuple_by_cols(old, RelationGetDescr(workers), BEAT_COLUMNS, beat.columns,
										beat.values, no_nulls);
		if (!may_overwrite(workers, &beat) || !overwrite(workers, &row->tts_tid, new))
			update(id, &beat);
	}
	ExecDropSingleTupleTableSlot(row);
	table_close(workers, NoLock);
	PG_RETURN_BOOL(alive);
}
