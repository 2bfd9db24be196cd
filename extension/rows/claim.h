/*
 * claim.h: the numbers under which jobs are handed out.
 *
 * The commit of a checkout is not flushed, so that a crash of the server may take it back; the same
 * number must not be handed out again all the same, for somebody may hold it. So there is a
 * ceiling, in a sequence (haul._claim_ceiling): it is flushed before a number above it is handed
 * out. After a crash all numbers begin above the ceiling. That there was one shows in a sequence
 * that is not logged (haul._claim_base), which a crash, a failover, or a restored backup empties:
 * it holds the number at which those of this life of the server begin.
 */
#ifndef HAUL_CLAIM_H
#define HAUL_CLAIM_H

#include "postgres.h"

/* The number that follows one that was handed out for the same job. Not taken back by an abort. */
extern int32 claim_after(int32 claim);

/* Whether the number is of an earlier life of the server. */
extern bool claim_is_from_before(int32 claim);

#endif
