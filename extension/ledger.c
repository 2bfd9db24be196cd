/*
 * ledger.c: what a call did, counted per queue (haul.ledger).
 *
 * Counts are collected in memory and appended as one row per queue and lease,
 * in the caller's transaction. Nothing is updated, so nobody waits.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"

#include "compat.h"
#include "catalog.h"
#include "ledger.h"
#include "table_writer.h"

/* columns of haul.ledger */
enum LedgerColumn
{
	LEDGER_DAY,
	LEDGER_QUEUE,
	LEDGER_COUNTERS,
	LEDGER_LEASE_ID = LEDGER_COUNTERS + COUNTERS,
	LEDGER_LEASE_DONE,
};

typedef struct Entry
{
	text *queue;
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
	int last; /* entry used last */
};

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

static bool
is_for(const Entry *entry, text *queue, int64 lease)
{
	return entry->lease == lease && VARSIZE_ANY_EXHDR(entry->queue) == VARSIZE_ANY_EXHDR(queue) &&
		   memcmp(VARDATA_ANY(entry->queue), VARDATA_ANY(queue), VARSIZE_ANY_EXHDR(queue)) == 0;
}

static Entry *
find_or_add(Ledger *ledger, text *queue, int64 lease)
{
	Entry *entry;

	if (ledger->nentries > 0 && is_for(&ledger->entries[ledger->last], queue, lease))
		return &ledger->entries[ledger->last];
	for (int i = 0; i < ledger->nentries; i++)
		if (is_for(&ledger->entries[i], queue, lease))
		{
			ledger->last = i;
			return &ledger->entries[i];
		}

	if (ledger->nentries == ledger->capacity)
	{
		ledger->capacity *= 2;
		ledger->entries = repalloc(ledger->entries, ledger->capacity * sizeof(Entry));
	}
	ledger->last = ledger->nentries++;
	entry = &ledger->entries[ledger->last];
	memset(entry, 0, sizeof(Entry));
	entry->lease = lease;
	entry->queue = MemoryContextAlloc(ledger->context, VARSIZE_ANY(queue));
	memcpy(entry->queue, queue, VARSIZE_ANY(queue));
	return entry;
}

void
ledger_count(Ledger *ledger, Datum queue, Counter counter, int64 lease)
{
	Entry *entry = find_or_add(ledger, DatumGetTextPP(queue), lease);

	entry->counts[counter]++;
	if (lease != 0)
		entry->lease_done++;
}

void
ledger_close(Ledger *ledger)
{
	TableWriter *writer;
	/* both epochs are 2000-01-01, UTC */
	int64 day = ledger->now / USECS_PER_DAY - (ledger->now % USECS_PER_DAY < 0);

	if (ledger->nentries == 0)
		return;
	writer = table_writer_open(haul_catalog()->ledger);
	for (int i = 0; i < ledger->nentries; i++)
	{
		Entry *entry = &ledger->entries[i];
		TupleTableSlot *row = table_writer_row(writer);

		memset(row->tts_isnull, false, (LEDGER_LEASE_DONE + 1) * sizeof(bool));
		row->tts_values[LEDGER_DAY] = DateADTGetDatum((DateADT) day);
		row->tts_values[LEDGER_QUEUE] = PointerGetDatum(entry->queue);
		for (int counter = 0; counter < COUNTERS; counter++)
			row->tts_values[LEDGER_COUNTERS + counter] = Int32GetDatum(entry->counts[counter]);
		row->tts_values[LEDGER_LEASE_ID] = Int64GetDatum(entry->lease);
		row->tts_isnull[LEDGER_LEASE_ID] = entry->lease == 0;
		row->tts_values[LEDGER_LEASE_DONE] = Int32GetDatum(entry->lease_done);
		table_writer_add(writer);
	}
	table_writer_close(writer);
}
