/*
 * journal.h: the two journals, the ledger and the leases: tables that are only appended to.
 *
 * Each journal is a pair of tables that take turns, so that the one at rest can be folded:
 * maintenance draws up what its rows come to, and from then on nobody reads them. They stay in the
 * table for the sake of old snapshots, and are truncated away when there are none.
 *
 * Both have an entry number. It says whether a row is folded; where in the table it
 * stands only says where to begin reading.
 */
#ifndef HAUL_JOURNAL_H
#define HAUL_JOURNAL_H

#include "postgres.h"

#include "access/relscan.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "base/catalog.h"
#include "base/table_writer.h"

#define JOURNAL_ENTRY 0					  /* the first in the lists of their columns: */
extern const Column ledger_column_list[]; /* ledger.c */
extern const Column lease_column_list[];  /* lease.c */

/* ---- writing ---- */

/* A writer to the side whose turn it is; *entry is what its rows must have in column JOURNAL_ENTRY.
 * Waits for nobody but an operator's LOCK TABLE. */
extern TableWriter *journal_append(Journal journal, int64 *entry);

/* ---- reading ---- */

/* What the snapshot sees of a journal, but for what is folded. */
typedef struct JournalReader
{
	Journal journal;
	int side; /* of the current row */
	Relation table;
	const Columns *columns; /* of it */
	Snapshot snapshot;
	TableScanDesc scan;
	TupleTableSlot *row;
	int64 upto; /* rows with entry numbers below are folded */
} JournalReader;

/* The snapshot must be registered, and outlive the reader. */
extern void journal_reader_open(JournalReader *reader, Journal journal, Snapshot snapshot);

/* The next row, all columns fetched; NULL after the last. */
extern TupleTableSlot *journal_reader_next(JournalReader *reader);

extern void journal_reader_close(JournalReader *reader);

/* ---- folding; all of it under the lock of maintenance ---- */

/* Whether there are rows with numbers that the sequence has yet to give out: a dump is being
 * restored, which sets the sequence last, and until then no turn may end. */
extern bool journals_are_being_restored(void);

/* For each table, the entry number below which all its rows are there and nobody will add any; 0
 * where somebody is still writing. Ends the turn of the side that had it, unless a table is waiting
 * to be emptied. */
typedef int64 JournalSeals[JOURNALS][JOURNAL_SIDES];
extern void journal_seal(JournalSeals seals);

/* Notes that the rows with entry numbers below upto are folded, and that no other row stands before
 * the block. */
extern void journal_mark_folded(Journal journal, int side, int64 upto, BlockNumber front);

#endif
