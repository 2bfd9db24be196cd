/*
 * dbworker.h: the background worker of one database.
 */
#ifndef HAUL_DBWORKER_H
#define HAUL_DBWORKER_H

#include "postgres.h"

/* Its entry point; the argument is the OID of the database. */
extern PGDLLEXPORT void haul_dbworker_main(Datum arg);

#endif
