/*
 * lease.c: which jobs were handed to which worker (haul.leases).
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "catalog.h"
#include "lease.h"
#include "row_reader.h"
#include "table_writer.h"

/* columns of haul.leases */
enum LeaseColumn
{
	LEASE_ID,
	LEASE_WORKER_ID,
	LEASE_JOBS,
	LEASE_DONE,
	LEASE_CLAIMED_AT,
	LEASE_COLUMNS
};

int64
lease_next_id(void)
{
	return nextval_internal(haul_catalog()->leases_id_seq, false);
}

static Datum
bigint_array(const int64 *values, int count)
{
	Datum elements[LEASE_MAX_JOBS];

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(
		construct_array(elements, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
lease_add(const int64 *ids, int64 worker, const int64 *jobs, int njobs, TimestampTz now)
{
	TableWriter *writer = table_writer_open(haul_catalog()->leases);

	for (int first = 0; first < njobs; first += LEASE_MAX_JOBS)
	{
		TupleTableSlot *row = table_writer_row(writer);

		memset(row->tts_isnull, false, LEASE_COLUMNS * sizeof(bool));
		row->tts_values[LEASE_ID] = Int64GetDatum(ids[first / LEASE_MAX_JOBS]);
		row->tts_values[LEASE_WORKER_ID] = Int64GetDatum(worker);
		row->tts_values[LEASE_JOBS] =
			bigint_array(jobs + first, Min(njobs - first, LEASE_MAX_JOBS));
		row->tts_values[LEASE_DONE] = Int32GetDatum(0);
		row->tts_values[LEASE_CLAIMED_AT] = TimestampTzGetDatum(now);
		table_writer_add(writer);
	}
	table_writer_close(writer);
}

int
lease_list(int64 worker, Lease **leases)
{
	int nleases = 0;
	int capacity = 16;
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;

	*leases = palloc(capacity * sizeof(Lease));
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(worker));
	row_reader_open(&reader, haul_catalog()->leases, haul_catalog()->leases_worker_id,
					AccessShareLock, &key);
	while ((row = row_reader_next(&reader)) != NULL)
	{
		ArrayType *jobs = DatumGetArrayTypePCopy(row->tts_values[LEASE_JOBS]);
		Lease *lease;

		if (nleases == capacity)
			*leases = repalloc(*leases, (capacity *= 2) * sizeof(Lease));
		lease = &(*leases)[nleases++];
		lease->id = DatumGetInt64(row->tts_values[LEASE_ID]);
		lease->tid = row->tts_tid;
		lease->njobs = ArrayGetNItems(ARR_NDIM(jobs), ARR_DIMS(jobs));
		lease->jobs = (int64 *) ARR_DATA_PTR(jobs);
	}
	row_reader_close(&reader);
	return nleases;
}

void
lease_remove(Lease *leases, int nleases)
{
	Relation table = table_open(haul_catalog()->leases, RowExclusiveLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TM_FailureData failure;

	for (int i = 0; i < nleases; i++)
		(void) table_tuple_delete(table, &leases[i].tid, GetCurrentCommandId(true), snapshot,
								  InvalidSnapshot, false, &failure, false);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
}
