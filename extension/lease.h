/*
 * lease.h: which jobs were handed to which worker (haul.leases).
 */
#ifndef HAUL_LEASE_H
#define HAUL_LEASE_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef struct Lease
{
	int64 id;
	ItemPointerData tid;
	int njobs;
	int64 *jobs;
} Lease;

/* A lease names no more jobs than this: its row then stays below the size at which
 * the server would spend more time on compressing it than on claiming the jobs. */
#define LEASE_MAX_JOBS 224

/* An id for a lease to come. */
extern int64 lease_next_id(void);

/* Writes the leases of one checkout: the jobs in the order of their claims, the first
 * LEASE_MAX_JOBS of them under the first id, and so on. */
extern void lease_add(const int64 *ids, int64 worker, const int64 *jobs, int njobs,
					  TimestampTz now);

/* All leases of a worker; returns how many. */
extern int lease_list(int64 worker, Lease **leases);

/* Removes leases of that list, but for those that maintenance is changing: it removes them itself.
 */
extern void lease_remove(Lease *leases, int nleases);

#endif
