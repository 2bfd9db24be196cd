/*
 * ledger.h: what a call did, counted per queue (haul.ledger).
 */
#ifndef HAUL_LEDGER_H
#define HAUL_LEDGER_H

#include "postgres.h"

#include "utils/timestamp.h"

/* in the order of the columns of haul.ledger */
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

/* Appends the counts to the table. */
extern void ledger_close(Ledger *ledger);

#endif
