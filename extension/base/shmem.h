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
	HAUL_LOCK_LANES,	 /* lane_table.c */
	HAUL_LOCK_READY,	 /* lane_table.h: which lanes there is something in */
	HAUL_LOCK_WAITERS,	 /* waiter.c */
	HAUL_LOCKS
};

/* What a part of it needs, and how it sets up its memory: zeroed, the first process only. */
typedef struct ShmemPart
{
	const char *name;
	Size (*size)(void);
	void (*attach)(void *memory, bool found);
	Size (*tables_size)(void); /* of hash tables that it makes besides; NULL: none */
} ShmemPart;

/* Asks for the memory of the parts, which must stay, and for the locks, while the server preloads
 * its libraries. */
extern void haul_shmem_request(const ShmemPart *parts, int count);

/* Whether the server preloaded pg_haul. Everything below is allowed only if so. */
extern bool haul_is_preloaded(void);

extern LWLock *haul_lock(enum HaulLock lock);

#endif
