/*
 * shmem.h: shared memory, which exists only when the server preloads pg_haul.
 *
 * Everything in it is a hint or a convenience: losing it in a crash loses no job.
 * Locks are taken in the order of this enum, never in the other direction.
 */
#ifndef HAUL_SHMEM_H
#define HAUL_SHMEM_H

#include "postgres.h"

#include "storage/lwlock.h"

enum HaulLock
{
	HAUL_LOCK_DATABASES, /* database.c */
	HAUL_LOCK_LANES,	 /* lane.c */
	HAUL_LOCK_WAITERS,	 /* waiter.c */
	HAUL_LOCKS
};

/* Asks for the memory and its locks, while the server preloads its libraries. */
extern void haul_shmem_request(void);

/* Whether the server preloaded pg_haul. Everything below is allowed only if so. */
extern bool haul_is_preloaded(void);

extern LWLock *haul_lock(enum HaulLock lock);

#endif
