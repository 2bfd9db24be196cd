/*
 * shmem.c: the layout of shared memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "calls/await.h"
#include "shared/database.h"
#include "shared/lane.h"
#include "shared/waiter.h"

#define TRANCHE "pg_haul"

/* What each part needs, and how it sets up its memory: zeroed, the first process only. */
static const struct
{
	const char *name;
	Size (*size)(void);
	void (*attach)(void *memory, bool found);
} parts[] = {
	{"pg_haul databases", database_shmem_size, database_shmem_attach},
	{"pg_haul lanes", lane_shmem_size, lane_shmem_attach},
	{"pg_haul waiters", waiter_shmem_size, waiter_shmem_attach},
	{"pg_haul awaiting", await_shmem_size, await_shmem_attach},
};

static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;
static LWLockPadded *locks; /* NULL: not preloaded */

static void
request(void)
{
	if (next_request != NULL)
		next_request();
	for (int i = 0; i < lengthof(parts); i++)
		RequestAddinShmemSpace(parts[i].size());
	RequestAddinShmemSpace(lane_table_shmem_size());
	RequestNamedLWLockTranche(TRANCHE, HAUL_LOCKS);
}

static void
startup(void)
{
	if (next_startup != NULL)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < lengthof(parts); i++)
	{
		bool found;
		Size size = parts[i].size();
		void *memory = ShmemInitStruct(parts[i].name, size, &found);

		if (!found)
			memset(memory, 0, size);
		parts[i].attach(memory, found);
	}
	LWLockRelease(AddinShmemInitLock);
	locks = GetNamedLWLockTranche(TRANCHE);
}

void
haul_shmem_request(void)
{
	next_request = shmem_request_hook;
	shmem_request_hook = request;
	next_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

bool
haul_is_preloaded(void)
{
	return locks != NULL;
}

LWLock *
haul_lock(enum HaulLock lock)
{
	return &locks[lock].lock;
}
