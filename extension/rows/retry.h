/*
 * retry.h: when a failed job runs again.
 */
#ifndef HAUL_RETRY_H
#define HAUL_RETRY_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/timestamp.h"

/* When to try again after the job's current attempt failed at the given time: by
 * its own backoff, else its kind's, else the setting, with jitter. */
extern TimestampTz retry_at(TupleTableSlot *job, TimestampTz failed_at);

#endif
