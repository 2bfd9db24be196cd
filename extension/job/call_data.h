/*
 * call_data.h: what one call that changes jobs has in hand. calls/call.h opens and closes it.
 */
#ifndef HAUL_CALL_DATA_H
#define HAUL_CALL_DATA_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "job/history.h"
#include "job/job_store.h"
#include "journal/ledger.h"

typedef struct Call
{
	TimestampTz now;   /* the server's clock when the call began */
	uint64 generation; /* of lanes; noted before the store took its snapshot */
	JobStore *store;
	Ledger *ledger;
	History *history;
	List *outcomes;		   /* of Outcome: to be told when the call closes */
	MemoryContext scratch; /* for one job */
} Call;

/* Switches to the scratch context, emptied; closing the call switches back. */
static inline void
call_next_job(Call *call)
{
	MemoryContextReset(call->scratch);
	MemoryContextSwitchTo(call->scratch);
}

#endif
