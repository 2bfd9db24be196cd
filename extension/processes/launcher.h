/*
 * launcher.h: the background worker that starts one for each database that needs it.
 */
#ifndef HAUL_LAUNCHER_H
#define HAUL_LAUNCHER_H

#include "postgres.h"

/* While the server preloads its libraries. */
extern void haul_launcher_register(void);

/* Its entry point. */
extern PGDLLEXPORT void haul_launcher_main(Datum arg);

#endif
