/*
 * ready_work.h: the jobs of a lane that may be claimed now, and for whom they are.
 */
#ifndef HAUL_READY_WORK_H
#define HAUL_READY_WORK_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "job/job_store.h"
#include "shared/waiter.h"

#define READY_AUDIENCES 8

/*
 * Finds the ready jobs that are due where the wanted ones would be: those of its audience, but no
 * more than there are of it; of all when that is not known. Returns how many entries of found[] it
 * fills, one for each audience. Of a long lane only the beginning is read, and for the rest
 * there is one more, as wanted. Only where pg_haul is preloaded.
 */
extern int ready_work(JobStore *store, const Work *wanted, TimestampTz now,
					  Work found[READY_AUDIENCES + 1]);

#endif
