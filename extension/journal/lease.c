/*
 * lease.c: which jobs were handed to which worker (haul.leases).
 *
 * Leases are appended to a journal, and so is, in the ledger, what became of their
 * jobs: a lease is done when as many of its jobs are counted as it names.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "journal/journal.h"
#include "journal/lease.h"
#include "journal/ledger.h"

/* columns of haul._leases_0 and _1 */
enum LeaseColumn
{
	LEASE_ENTRY = JOURNAL_ENTRY,
	LEASE_ID,
	LEASE_WORKER_ID,
	LEASE_JOBS,
	LEASE_DONE,
	LEASE_CLAIMED_AT,
};

const Column lease_column_list[] = {
	[LEASE_ENTRY] = {"entry", INT8OID},
	[LEASE_ID] = {"id", INT8OID},
	[LEASE_WORKER_ID] = {"worker_id", INT8OID},
	[LEASE_JOBS] = {"jobs", INT8ARRAYOID},
	[LEASE_DONE] = {"done", INT4OID},
	[LEASE_CLAIMED_AT] = {"claimed_at", TIMESTAMPTZOID},
	{NULL, InvalidOid},
};

int64
lease_next_id(void)
{
	return nextval_internal(haul_catalog()->lease_id_seq, false);
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
lease_write(TableWriter *writer, int64 entry, const Lease *lease)
{
	table_writer_begin_row(writer);
	table_writer_set(writer, LEASE_ENTRY, Int64GetDatum(entry));
	table_writer_set(writer, LEASE_ID, Int64GetDatum(lease->id));
	table_writer_set(writer, LEASE_WORKER_ID, Int64GetDatum(lease->worker));
	table_writer_set(writer, LEASE_JOBS, bigint_array(lease->jobs, lease->njobs));
	table_writer_set(writer, LEASE_DONE, Int32GetDatum(lease->done));
	table_writer_set(writer, LEASE_CLAIMED_AT, TimestampTzGetDatum(lease->claimed_at));
	table_writer_add(writer);
}

void
lease_add(const int64 *ids, int64 worker, const int64 *jobs, int njobs, TimestampTz now)
{
	int64 entry;
	TableWriter *writer = journal_append(JOURNAL_LEASES, &entry);

	for (int first = 0; first < njobs; first += LEASE_MAX_JOBS)
	{
		Lease lease = {
			.id = ids[first / LEASE_MAX_JOBS],
			.worker = worker,
			.njobs = Min(njobs - first, LEASE_MAX_JOBS),
			.jobs = (int64 *) jobs + first,
			.claimed_at = now,
		};

		lease_write(writer, entry, &lease);
	}
	table_writer_close(writer);
}

void
lease_read(const JournalReader *reader, Lease *lease)
{
	const Columns *columns = reader->columns;
	TupleTableSlot *row = reader->row;
	ArrayType *jobs = DatumGetArrayTypeP(column_value(columns, row, LEASE_JOBS));

	lease->id = DatumGetInt64(column_value(columns, row, LEASE_ID));
	lease->worker = DatumGetInt64(column_value(columns, row, LEASE_WORKER_ID));
	lease->njobs = ArrayGetNItems(ARR_NDIM(jobs), ARR_DIMS(jobs));
	lease->jobs = (int64 *) ARR_DATA_PTR(jobs);
	lease->done = DatumGetInt32(column_value(columns, row, LEASE_DONE));
	lease->claimed_at = DatumGetTimestampTz(column_value(columns, row, LEASE_CLAIMED_AT));
}

/* ---- who holds what ---- */

static Lease
copy_lease(const JournalReader *reader)
{
	Lease lease;
	int64 *jobs;

	lease_read(reader, &lease);
	jobs = palloc((lease.njobs + 1) * sizeof(int64));
	memcpy(jobs, lease.jobs, lease.njobs * sizeof(int64));
	lease.jobs = jobs;
	return lease;
}

/* All leases of the worker that are not folded, with what is known of them there. */
static int
lease_read_all(int64 worker, Snapshot snapshot, Lease **leases)
{
	int nleases = 0;
	int capacity = 16;
	JournalReader reader;
	TupleTableSlot *row;

	*leases = palloc(capacity * sizeof(Lease));
	journal_reader_open(&reader, JOURNAL_LEASES, snapshot);
	while ((row = journal_reader_next(&reader)) != NULL)
	{
		if (DatumGetInt64(column_value(reader.columns, row, LEASE_WORKER_ID)) != worker)
			continue;
		if (nleases == capacity)
			*leases = repalloc(*leases, (capacity *= 2) * sizeof(Lease));
		(*leases)[nleases++] = copy_lease(&reader);
	}
	journal_reader_close(&reader);
	return nleases;
}

typedef struct LeaseIndex
{
	int64 id;
	int position;
} LeaseIndex;

/* Adds to the leases what the ledger tells of them. */
static void
add_counts(Lease *leases, int nleases, Snapshot snapshot)
{
	HASHCTL info = {
		.keysize = sizeof(int64), .entrysize = sizeof(LeaseIndex), .hcxt = CurrentMemoryContext};
	HTAB *index =
		hash_create("pg_haul leases", nleases, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	JournalReader reader;
	TupleTableSlot *row;

	for (int i = 0; i < nleases; i++)
		((LeaseIndex *) hash_search(index, &leases[i].id, HASH_ENTER, NULL))->position = i;
	journal_reader_open(&reader, JOURNAL_LEDGER, snapshot);
	while ((row = journal_reader_next(&reader)) != NULL)
	{
		LedgerRow read;
		LeaseIndex *found;

		ledger_read(&reader, &read);
		found = hash_search(index, &read.lease, HASH_FIND, NULL);
		if (found != NULL)
			leases[found->position].done += read.lease_done;
	}
	journal_reader_close(&reader);
	hash_destroy(index);
}

int
lease_list(int64 worker, Lease **leases)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int nleases = lease_read_all(worker, snapshot, leases);
	int left = 0;

	if (nleases > 0)
		add_counts(*leases, nleases, snapshot);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < nleases; i++)
		if ((*leases)[i].done < (*leases)[i].njobs)
			(*leases)[left++] = (*leases)[i];
	return left;
}

int
lease_workers(int64 **workers)
{
	HASHCTL info = {
		.keysize = sizeof(int64), .entrysize = sizeof(int64), .hcxt = CurrentMemoryContext};
	HTAB *seen = hash_create("pg_haul workers", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	JournalReader reader;
	TupleTableSlot *row;
	HASH_SEQ_STATUS all;
	int64 *worker;
	int nworkers = 0;

	journal_reader_open(&reader, JOURNAL_LEASES, snapshot);
	while ((row = journal_reader_next(&reader)) != NULL)
	{
		int64 id = DatumGetInt64(column_value(reader.columns, row, LEASE_WORKER_ID));

		(void) hash_search(seen, &id, HASH_ENTER, NULL);
	}
	journal_reader_close(&reader);
	UnregisterSnapshot(snapshot);

	*workers = palloc((hash_get_num_entries(seen) + 1) * sizeof(int64));
	hash_seq_init(&all, seen);
	while ((worker = hash_seq_search(&all)) != NULL)
		(*workers)[nworkers++] = *worker;
	hash_destroy(seen);
	return nworkers;
}
