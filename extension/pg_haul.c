/*
 * pg_haul.c: a background-job queue that lives inside PostgreSQL.
 *
 * The house is described in README.md beside this file.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "processes/launcher.h"

HAUL_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	haul_settings_define();
	if (!process_shared_preload_libraries_in_progress)
		return;
	haul_shmem_request();
	haul_launcher_register();
}
