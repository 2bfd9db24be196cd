/*
 * recover.h: jobs taken back from workers that are gone.
 */
#ifndef HAUL_RECOVER_H
#define HAUL_RECOVER_H

#include "postgres.h"

/*
 * Interrupts every job that the worker holds and settles its leases. The caller
 * has the worker's exclusive lock, or the worker has no row. Returns how many jobs
 * that released or ended; one that somebody has locked is left, with its lease.
 */
extern int64 recover_jobs_of(int64 worker);

#endif
