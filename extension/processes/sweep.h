/*
 * sweep.h: the search for jobs below the floors, in slices.
 */
#ifndef HAUL_SWEEP_H
#define HAUL_SWEEP_H

#include "postgres.h"

#include "utils/timestamp.h"

/* Sweeps on where it is due in the current database, for a few milliseconds at most, in a
 * transaction of its own. Returns when to go on. */
extern TimestampTz sweep_slice(TimestampTz now);

/* Whether a sweep is under way. */
extern bool sweep_is_under_way(void);

#endif
