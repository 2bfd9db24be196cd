/*
 * ledger.c: what a call did, counted per queue (haul.ledger).
 *
 * Counts are collected in memory and appended to the journal as one row per queue
 * and lease, in the caller's transaction. Nothing is updated, so nobody waits.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "journal/journal.h"
#include "journal/ledger.h"

/* columns of haul._ledger_0 and _1 */
enum LedgerColumn
{
	LEDGER_ENTRY = JOURNAL_ENTRY,
	LEDGER_SUM,
	LEDGER_DAY,
	LEDGER_QUEUE,
	LEDGER_COUNTERS,
	LEDGER_LEASE_ID = LEDGER_COUNTERS + COUNTERS,
	LEDGER_LEASE_DONE,
};

const Column ledger_column_list[] = {
	[LEDGER_ENTRY] = {"entry", INT8OID},
	[LEDGER_SUM] = {"sum", BOOLOID},
	[LEDGER_DAY] = {"day", DATEOID},
	[LEDGER_QUEUE] = {"queue", TEXTOID},
	[LEDGER_COUNTERS + COUNT_DISPATCHES] = {"dispatches", INT4OID},
	[LEDGER_COUNTERS + COUNT_RETRIES] = {"retries", INT4OID},
	[LEDGER_COUNTERS + COUNT_COMPLETIONS] = {"completions", INT4OID},
	[LEDGER_COUNTERS + COUNT_FAILURES] = {"failures", INT4OID},
	[LEDGER_COUNTERS + COUNT_EXPIRIES] = {"expiries", INT4OID},
	[LEDGER_COUNTERS + COUNT_DISCARDS] = {"discards", INT4OID},
	[LEDGER_COUNTERS + COUNT_CANCELS] = {"cancels", INT4OID},
	[LEDGER_COUNTERS + COUNT_RELEASES] = {"releases", INT4OID},
	[LEDGER_COUNTERS + COUNT_DROPS] = {"drops", INT4OID},
	[LEDGER_LEASE_ID] = {"lease_id", INT8OID},
	[LEDGER_LEASE_DONE] = {"lease_done", INT4OID},
	{NULL, InvalidOid},
};

typedef struct Entry
{
	text *queue; /* NULL: nothing is counted, only the lease is settled */
	bool sum;	 /* of what was counted before */
	int64 lease;
	int32 counts[COUNTERS];
	int32 lease_done;
} Entry;

struct Ledger
{
	TimestampTz now;
	MemoryContext context;
	Entry *entries;
	int nentries;
	int capacity;
	int last;	 /* entry used last */
	HTAB *index; /* of those that count; NULL while they are few */
};

#define FEW_ENTRIES 16 /* searched one by one */

/* Two queues may have the same hash: then the second one's entries are searched one by one. */
typedef struct IndexKey
{
	int64 lease;
	uint64 queue; /* hash of its name */
} IndexKey;

typedef struct IndexEntry
{
	IndexKey key;
	int entry;
} IndexEntry;

Ledger *
ledger_open(TimestampTz now)
{
	Ledger *ledger = palloc0(sizeof(Ledger));

	ledger->now = now;
	ledger->context = CurrentMemoryContext;
	ledger->capacity = 8;
	ledger->entries = palloc(ledger->capacity * sizeof(Entry));
	return ledger;
}

static Entry *
add_entry(Ledger *ledger, text *queue, int64 lease)
{
	Entry *entry;

	if (ledger->nentries == ledger->capacity)
	{
		ledger->capacity *= 2;
		ledger->entries = repalloc(ledger->entries, ledger->capacity * sizeof(Entry));
	}
	entry = &ledger->entries[ledger->nentries++];
	memset(entry, 0, sizeof(Entry));
	entry->lease = lease;
	if (queue != NULL)
	{
		entry->queue = MemoryContextAlloc(ledger->context, VARSIZE_ANY(queue));
		memcpy(entry->queue, queue, VARSIZE_ANY(queue));
	}
	return entry;
}

static bool
is_for(const Entry *entry, text *queue, int64 lease)
{
	return entry->lease == lease && entry->queue != NULL && !entry->sum &&
		   VARSIZE_ANY_EXHDR(entry->queue) == VARSIZE_ANY_EXHDR(queue) &&
		   memcmp(VARDATA_ANY(entry->queue), VARDATA_ANY(queue), VARSIZE_ANY_EXHDR(queue)) == 0;
}

static void *
search_index(Ledger *ledger, text *queue, int64 lease, HASHACTION action, bool *found)
{
	IndexKey key = {lease, hash_bytes_extended((const unsigned char *) VARDATA_ANY(queue),
											   VARSIZE_ANY_EXHDR(queue), 0)};

	return hash_search(ledger->index, &key, action, found);
}

static void
ledger_add_to_index(Ledger *ledger, int entry)
{
	bool found;
	IndexEntry *added = search_index(ledger, ledger->entries[entry].queue,
									 ledger->entries[entry].lease, HASH_ENTER, &found);

	if (!found)
		added->entry = entry;
}

static void
make_index(Ledger *ledger)
{
	HASHCTL info = {
		.keysize = sizeof(IndexKey), .entrysize = sizeof(IndexEntry), .hcxt = ledger->context};

	ledger->index =
		hash_create("pg_haul counts", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < ledger->nentries; i++)
		if (ledger->entries[i].queue != NULL && !ledger->entries[i].sum)
			ledger_add_to_index(ledger, i);
}

/* The place of the entry; that behind the last one when there is none. */
static int
find_entry(Ledger *ledger, text *queue, int64 lease)
{
	int place = 0;

	if (ledger->index != NULL)
	{
		IndexEntry *indexed = search_index(ledger, queue, lease, HASH_FIND, NULL);

		if (indexed == NULL)
			return ledger->nentries;
		place = indexed->entry;
	}
	while (place < ledger->nentries && !is_for(&ledger->entries[place], queue, lease))
		place++;
	return place;
}

static Entry *
find_or_add(Ledger *ledger, text *queue, int64 lease)
{
	if (ledger->nentries > 0 && is_for(&ledger->entries[ledger->last], queue, lease))
		return &ledger->entries[ledger->last];
	ledger->last = find_entry(ledger, queue, lease);
	if (ledger->last == ledger->nentries)
	{
		(void) add_entry(ledger, queue, lease);
		if (ledger->index != NULL)
			ledger_add_to_index(ledger, ledger->last);
		else if (ledger->nentries > FEW_ENTRIES)
			make_index(ledger);
	}
	return &ledger->entries[ledger->last];
}

void
ledger_count(Ledger *ledger, Datum queue, Counter counter, int64 lease)
{
	ledger_count_many(ledger, queue, counter, lease, 1);
}

void
ledger_count_many(Ledger *ledger, Datum queue, Counter counter, int64 lease, int32 jobs)
{
	Entry *entry = find_or_add(ledger, DatumGetTextPP(queue), lease);

	entry->counts[counter] += jobs;
	if (lease != 0)
		entry->lease_done += jobs;
}

void
ledger_settle(Ledger *ledger, int64 lease, int jobs)
{
	add_entry(ledger, NULL, lease)->lease_done = jobs;
}

void
ledger_add_sum(Ledger *ledger, text *queue, const int64 *counts)
{
	Entry *entry = add_entry(ledger, queue, 0);

	entry->sum = true;
	for (int counter = 0; counter < COUNTERS; counter++)
		entry->counts[counter] = counts[counter];
}

DateADT
ledger_day(const Ledger *ledger)
{
	/* both epochs are 2000-01-01, UTC */
	return ledger->now / USECS_PER_DAY - (ledger->now % USECS_PER_DAY < 0);
}

void
ledger_close(Ledger *ledger)
{
	TableWriter *writer;
	int64 number;

	if (ledger->nentries == 0)
		return;
	writer = journal_append(JOURNAL_LEDGER, &number);
	for (int i = 0; i < ledger->nentries; i++)
	{
		Entry *entry = &ledger->entries[i];

		table_writer_begin_row(writer);
		table_writer_set(writer, LEDGER_ENTRY, Int64GetDatum(number));
		table_writer_set(writer, LEDGER_SUM, BoolGetDatum(entry->sum));
		table_writer_set(writer, LEDGER_DAY, DateADTGetDatum(ledger_day(ledger)));
		if (entry->queue != NULL)
			table_writer_set(writer, LEDGER_QUEUE, PointerGetDatum(entry->queue));
		for (int counter = 0; counter < COUNTERS; counter++)
			table_writer_set(writer, LEDGER_COUNTERS + counter,
							 Int32GetDatum(entry->counts[counter]));
		if (entry->lease != 0)
			table_writer_set(writer, LEDGER_LEASE_ID, Int64GetDatum(entry->lease));
		table_writer_set(writer, LEDGER_LEASE_DONE, Int32GetDatum(entry->lease_done));
		table_writer_add(writer);
	}
	table_writer_close(writer);
}

void
ledger_read(const JournalReader *reader, LedgerRow *read)
{
	const Columns *columns = reader->columns;
	TupleTableSlot *row = reader->row;

	read->entry = DatumGetInt64(column_value(columns, row, LEDGER_ENTRY));
	read->sum = DatumGetBool(column_value(columns, row, LEDGER_SUM));
	read->queue = NULL;
	if (!column_is_null(columns, row, LEDGER_QUEUE))
		read->queue = DatumGetTextPP(column_value(columns, row, LEDGER_QUEUE));
	read->day = DatumGetDateADT(column_value(columns, row, LEDGER_DAY));
	for (int counter = 0; counter < COUNTERS; counter++)
		read->counts[counter] =
			DatumGetInt32(column_value(columns, row, LEDGER_COUNTERS + counter));
	read->lease = 0;
	if (!column_is_null(columns, row, LEDGER_LEASE_ID))
		read->lease = DatumGetInt64(column_value(columns, row, LEDGER_LEASE_ID));
	read->lease_done = DatumGetInt32(column_value(columns, row, LEDGER_LEASE_DONE));
}
