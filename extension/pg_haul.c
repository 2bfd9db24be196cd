/*
 * pg_haul.c: a background-job queue that lives inside PostgreSQL.
 *
 * The house is described in README.md beside this file.
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "settings.h"

HAUL_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	haul_settings_define();
}
