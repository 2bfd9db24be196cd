/*
 * ledger.h: what a call did, counted per queue (haul.ledger).
 */
#ifndef HAUL_LEDGER_H
#define HAUL_LEDGER_H

#include "postgres.h"

#include "utils/date.h"
#include "utils/timestamp.h"

#include "journal/journal.h"

typedef enum Counter
{
	COUNT_DISPATCHES,
	COUNT_RETRIES,
	COUNT_COMPLETIONS,
	COUNT_FAILURES,
	COUNT_EXPIRIES,
	COUNT_DISCARDS,
	COUNT_CANCELS,
	COUNT_RELEASES,
	COUNT_DROPS,
	COUNTERS
} Counter;

typedef struct Ledger Ledger;

extern Ledger *ledger_open(TimestampTz now);

/* Adds one to a counter of the queue. A lease other than 0: one of its jobs is done. */
extern void ledger_count(Ledger *ledger, Datum queue, Counter counter, int64 lease);
extern void ledger_count_many(Ledger *ledger, Datum queue, Counter counter, int64 lease,
							  int32 jobs);

/* So many jobs of the lease are done, which count for nothing else. */
extern void ledger_settle(Ledger *ledger, int64 lease, int jobs);

/* What a queue's counts of today come to that are folded; none may exceed LEDGER_MAX_SUM. */
#define LEDGER_MAX_SUM (1 << 30)
extern void ledger_add_sum(Ledger *ledger, text *queue, const int64 *counts);

/* Today, in UTC. */
extern DateADT ledger_day(const Ledger *ledger);

/* Appends the counts to the journal. */
extern void ledger_close(Ledger *ledger);

/* A row of the journal. */
typedef struct LedgerRow
{
	int64 entry;
	bool sum; /* of rows that are folded */
	DateADT day;
	text *queue; /* NULL: it counts nothing, but tells of a lease */
	int32 counts[COUNTERS];
	int64 lease; /* 0: none */
	int32 lease_done;
} LedgerRow;

/* The row at which the reader is; the queue points into its slot. */
extern void ledger_read(const JournalReader *reader, LedgerRow *read);

#endif
