/*
 * lease.h: which jobs were handed to which worker (haul.leases).
 */
#ifndef HAUL_LEASE_H
#define HAUL_LEASE_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "base/table_writer.h"
#include "journal/journal.h"

typedef struct Lease
{
	int64 id;
	int64 worker;
	int njobs;
	int64 *jobs;
	int32 done; /* how many of the jobs are known to have ended or been given back */
	TimestampTz claimed_at;
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

/* All leases of a worker that are not done; returns how many. */
extern int lease_list(int64 worker, Lease **leases);

/* Ids of all workers that have leases that may not be done; returns how many. */
extern int lease_workers(int64 **workers);

/* The row at which the reader is; the jobs point into its slot, or to a copy in the current memory
 * context. */
extern void lease_read(const JournalReader *reader, Lease *lease);

/* Appends a row to the journal of leases. */
extern void lease_write(TableWriter *writer, int64 entry, const Lease *lease);

#endif
