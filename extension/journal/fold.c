/*
 * fold.c: what the journals come to.
 *
 * Rows of the ledger are added up. The sums of today are appended to it again, to be
 * added up with what comes; those of past days go to haul.counter_totals, where a row
 * is hardly ever touched again, as do those of today that did not grow, where there are many. A
 * lease whose jobs are all accounted for is left behind; the others, too, are appended again, with
 * what is known of them so far.
 *
 * All in one transaction, so that at any instant, and to any snapshot, totals and
 * journals together are exact.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/owner.h"
#include "journal/journal.h"
#include "journal/lease.h"
#include "journal/ledger.h"

#define MAX_QUEUE_BYTES (63 * MAX_MULTIBYTE_CHAR_LEN)
#define MANY_TOTALS 1000

typedef struct TotalKey
{
	DateADT day;
	int length;
	char queue[MAX_QUEUE_BYTES];
} TotalKey;

typedef struct Total
{
	TotalKey key;
	int64 counts[COUNTERS];
	bool grew; /* since the last time */
} Total;

/* What the ledger tells of a lease. */
typedef struct Done
{
	int64 lease;
	int32 folded;  /* jobs done, by rows that are folded now */
	int32 left;	   /* and by rows that are not */
	bool left_out; /* the lease itself is not folded now */
} Done;

/* What is folded of a table. */
typedef struct Part
{
	int64 rows;
	BlockNumber last;		/* of the rows that are folded */
	BlockNumber first_left; /* of the others */
} Part;

typedef struct Folding
{
	Snapshot snapshot;
	JournalSeals seals;
	Part parts[JOURNALS][JOURNAL_SIDES];
	HTAB *totals;  /* of Total */
	HTAB *dones;   /* of Done */
	int64 counted; /* rows of the ledger that count */
} Folding;

/* Whether anything was counted since the last time. */
static bool
has_something_to_fold(void)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	JournalReader reader;
	bool found = false;

	journal_reader_open(&reader, JOURNAL_LEDGER, snapshot);
	while (!found && journal_reader_next(&reader) != NULL)
	{
		LedgerRow row;

		ledger_read(&reader, &row);
		found = !row.sum;
	}
	journal_reader_close(&reader);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether the reader's row is folded now. Notes where it stands. */
static bool
fold_take(Folding *folding, const JournalReader *reader)
{
	Part *part = &folding->parts[reader->journal][reader->side];
	BlockNumber block = ItemPointerGetBlockNumber(&reader->row->tts_tid);

	if (DatumGetInt64(column_value(reader->columns, reader->row, JOURNAL_ENTRY)) >=
		folding->seals[reader->journal][reader->side])
	{
		part->first_left = Min(part->first_left, block);
		return false;
	}
	part->rows++;
	part->last = Max(part->last, block);
	return true;
}

static void
add_up(Folding *folding, const LedgerRow *row)
{
	TotalKey key = {.day = row->day, .length = VARSIZE_ANY_EXHDR(row->queue)};
	Total *total;
	bool found;

	if (key.length > MAX_QUEUE_BYTES)
		elog(ERROR, "the name of a queue in the ledger has %d bytes", key.length);
	memcpy(key.queue, VARDATA_ANY(row->queue), key.length);
	total = hash_search(folding->totals, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) total + sizeof(TotalKey), 0, sizeof(Total) - sizeof(TotalKey));
	total->grew |= !row->sum;
	for (int counter = 0; counter < COUNTERS; counter++)
		total->counts[counter] += row->counts[counter];
}

static void
read_ledger(Folding *folding)
{
	JournalReader reader;

	journal_reader_open(&reader, JOURNAL_LEDGER, folding->snapshot);
	while (journal_reader_next(&reader) != NULL)
	{
		bool folded = fold_take(folding, &reader);
		LedgerRow row;

		ledger_read(&reader, &row);
		if (folded && row.queue != NULL)
		{
			add_up(folding, &row);
			if (!row.sum)
				folding->counted++;
		}
		if (row.lease != 0)
		{
			bool found;
			Done *done = hash_search(folding->dones, &row.lease, HASH_ENTER, &found);

			if (!found)
				memset((char *) done + sizeof(int64), 0, sizeof(Done) - sizeof(int64));
			if (folded)
				done->folded += row.lease_done;
			else
				done->left += row.lease_done;
		}
	}
	journal_reader_close(&reader);
}

/* Leases that are not done go on, with what is known of them; what is known of leases that are not
 * folded now goes on, too. */
static void
fold_leases(Folding *folding, Ledger *ledger)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "pg_haul lease", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	TableWriter *writer = NULL;
	int64 entry = 0;
	JournalReader reader;
	HASH_SEQ_STATUS all;
	Done *done;

	journal_reader_open(&reader, JOURNAL_LEASES, folding->snapshot);
	while (journal_reader_next(&reader) != NULL)
	{
		bool folded = fold_take(folding, &reader);
		Lease lease;

		MemoryContextSwitchTo(scratch);
		lease_read(&reader, &lease);
		MemoryContextSwitchTo(caller);
		done = hash_search(folding->dones, &lease.id, HASH_FIND, NULL);
		if (!folded)
		{
			if (done != NULL)
				done->left_out = true;
		}
		else if (lease.done + (done != NULL ? done->folded + done->left : 0) < lease.njobs)
		{
			if (writer == NULL)
				writer = journal_append(JOURNAL_LEASES, &entry);
			lease.done += done != NULL ? done->folded : 0;
			lease_write(writer, entry, &lease);
		}
		MemoryContextReset(scratch);
	}
	journal_reader_close(&reader);
	if (writer != NULL)
		table_writer_close(writer);
	MemoryContextDelete(scratch);

	hash_seq_init(&all, folding->dones);
	while ((done = hash_seq_search(&all)) != NULL)
		if (done->left_out && done->folded > 0)
			ledger_settle(ledger, done->lease, done->folded);
}

/* many: sums that did not grow are not written again and again. */
static bool
stays_in_ledger(const Total *total, const Ledger *ledger, bool many)
{
	if (total->key.day != ledger_day(ledger) || (many && !total->grew))
		return false;
	for (int counter = 0; counter < COUNTERS; counter++)
		if (total->counts[counter] > LEDGER_MAX_SUM)
			return false;
	return true;
}

static void
add_to_totals(const Total *total)
{
	Oid types[2 + COUNTERS] = {DATEOID, TEXTOID};
	Datum values[2 + COUNTERS] = {
		DateADTGetDatum(total->key.day),
		PointerGetDatum(cstring_to_text_with_len(total->key.queue, total->key.length)),
	};

	for (int counter = 0; counter < COUNTERS; counter++)
	{
		types[2 + counter] = INT8OID;
		values[2 + counter] = Int64GetDatum(total->counts[counter]);
	}
	haul_run_as_owner("INSERT INTO haul.counter_totals AS t "
					  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
					  "ON CONFLICT (day, queue) DO UPDATE SET "
					  "dispatches = t.dispatches + excluded.dispatches, "
					  "retries = t.retries + excluded.retries, "
					  "completions = t.completions + excluded.completions, "
					  "failures = t.failures + excluded.failures, "
					  "expiries = t.expiries + excluded.expiries, "
					  "discards = t.discards + excluded.discards, "
					  "cancels = t.cancels + excluded.cancels, "
					  "releases = t.releases + excluded.releases, "
					  "drops = t.drops + excluded.drops",
					  lengthof(values), types, values, NULL);
}

static void
write_totals(Folding *folding, Ledger *ledger)
{
	bool many = hash_get_num_entries(folding->totals) > MANY_TOTALS;
	HASH_SEQ_STATUS all;
	Total *total;

	hash_seq_init(&all, folding->totals);
	while ((total = hash_seq_search(&all)) != NULL)
	{
		if (stays_in_ledger(total, ledger, many))
			ledger_add_sum(ledger, cstring_to_text_with_len(total->key.queue, total->key.length),
						   total->counts);
		else
			add_to_totals(total);
	}
}

static void
mark_folded(Folding *folding)
{
	for (Journal journal = 0; journal < JOURNALS; journal++)
		for (int side = 0; side < JOURNAL_SIDES; side++)
		{
			const Part *part = &folding->parts[journal][side];

			if (part->rows > 0)
				journal_mark_folded(journal, side, folding->seals[journal][side],
									Min(part->last, part->first_left));
		}
}

PG_FUNCTION_INFO_V1(haul_fold);

/* Returns how many rows of the ledger it has folded. */
Datum
haul_fold(PG_FUNCTION_ARGS)
{
	Folding folding = {0};
	HASHCTL totals = {
		.keysize = sizeof(TotalKey), .entrysize = sizeof(Total), .hcxt = CurrentMemoryContext};
	HASHCTL dones = {
		.keysize = sizeof(int64), .entrysize = sizeof(Done), .hcxt = CurrentMemoryContext};
	Ledger *ledger = ledger_open(GetCurrentTimestamp());

	/* The totals must be those of the moment: with an older snapshot, another pass will do it. */
	if (IsolationUsesXactSnapshot() || !has_something_to_fold() || journals_are_being_restored())
		PG_RETURN_INT64(0);

	journal_seal(folding.seals);
	folding.snapshot = RegisterSnapshot(GetLatestSnapshot());
	folding.totals =
		hash_create("pg_haul totals", 64, &totals, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	folding.dones = hash_create("pg_haul counts of leases", 1024, &dones,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (Journal journal = 0; journal < JOURNALS; journal++)
		for (int side = 0; side < JOURNAL_SIDES; side++)
			folding.parts[journal][side].first_left = InvalidBlockNumber;

	read_ledger(&folding);
	fold_leases(&folding, ledger);
	UnregisterSnapshot(folding.snapshot);

	write_totals(&folding, ledger);
	mark_folded(&folding);
	ledger_close(ledger);
	CommandCounterIncrement();
	PG_RETURN_INT64(folding.counted);
}
