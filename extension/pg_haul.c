/*
 * pg_haul.c: a background-job queue that lives inside PostgreSQL.
 *
 * What is loaded, and the parts of shared memory. README.md beside this file describes the rest.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "processes/launcher.h"
#include "shared/awaiting.h"
#include "shared/database.h"
#include "shared/lane.h"
#include "shared/waiter.h"

HAUL_MODULE_MAGIC;

static const ShmemPart shmem_parts[] = {
	{"pg_haul databases", database_shmem_size, database_shmem_attach, NULL},
	{"pg_haul lanes", lane_shmem_size, lane_shmem_attach, lane_table_shmem_size},
	{"pg_haul waiters", waiter_shmem_size, waiter_shmem_attach, NULL},
	{"pg_haul awaiting", awaiting_shmem_size, awaiting_shmem_attach, NULL},
};

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	haul_settings_define();
	if (!process_shared_preload_libraries_in_progress)
		return;
	haul_shmem_request(shmem_parts, lengthof(shmem_parts));
	haul_launcher_register();
}
