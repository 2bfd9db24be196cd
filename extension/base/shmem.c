/*
 * shmem.c: the layout of shared memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/shmem.h"

#define TRANCHE "pg_haul"

static const ShmemPart *parts;
static int nparts;
static shmem_request_hook_type next_request;
static shmem_startup_hook_type next_startup;
static LWLockPadded *locks; /* NULL: not preloaded */

static void
request(void)
{
	if (next_request != NULL)
		next_request();
	for (int i = 0; i < nparts; i++)
	{
		RequestAddinShmemSpace(parts[i].size());
		if (parts[i].tables_size != NULL)
			RequestAddinShmemSpace(parts[i].tables_size());
	}
	RequestNamedLWLockTranche(TRANCHE, HAUL_LOCKS);
}

static void
startup(void)
{
	if (next_startup != NULL)
		next_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nparts; i++)
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
haul_shmem_request(const ShmemPart *shmem_parts, int count)
{
	parts = shmem_parts;
	nparts = count;
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
