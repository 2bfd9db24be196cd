/*
 * awaiting.c: sessions that wait for jobs to end, in shared memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "shared/awaiting.h"

typedef struct Awaiting
{
	pg_atomic_uint32 sessions; /* that wait, in all databases */
	/* by process number: the database in which it waits, or InvalidOid; written by the process only
	 */
	pg_atomic_uint32 databases[FLEXIBLE_ARRAY_MEMBER];
} Awaiting;

static Awaiting *awaiting; /* NULL: not preloaded */
static bool waits = false;

static int
processes(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

Size
awaiting_shmem_size(void)
{
	return offsetof(Awaiting, databases) + processes() * sizeof(pg_atomic_uint32);
}

void
awaiting_shmem_attach(void *memory, bool found)
{
	awaiting = memory;
	if (found)
		return;
	pg_atomic_init_u32(&awaiting->sessions, 0);
	for (int i = 0; i < processes(); i++)
		pg_atomic_init_u32(&awaiting->databases[i], InvalidOid);
}

static pg_atomic_uint32 *
my_entry(void)
{
	return &awaiting->databases[MyProc - ProcGlobal->allProcs];
}

static void
stop_awaiting(int code, Datum arg)
{
	if (!waits)
		return;
	waits = false;
	pg_atomic_write_u32(my_entry(), InvalidOid);
	pg_atomic_fetch_sub_u32(&awaiting->sessions, 1);
}

void
awaiting_begin(void)
{
	static bool registered = false;

	if (awaiting == NULL)
		return;
	if (!registered)
	{
		before_shmem_exit(stop_awaiting, (Datum) 0);
		registered = true;
	}
	waits = true;
	pg_atomic_write_u32(my_entry(), MyDatabaseId);
	/* a full barrier: what is looked at now is looked at after this can be seen */
	pg_atomic_fetch_add_u32(&awaiting->sessions, 1);
}

void
awaiting_end(void)
{
	stop_awaiting(0, (Datum) 0);
}

void
awaiting_wake(void)
{
	/* a full barrier: our commit can be seen by those who are not seen here */
	if (pg_atomic_fetch_add_u32(&awaiting->sessions, 0) == 0)
		return;
	for (int i = 0; i < MaxBackends; i++)
		if (pg_atomic_read_u32(&awaiting->databases[i]) == MyDatabaseId)
			SetLatch(&ProcGlobal->allProcs[i].procLatch);
}
