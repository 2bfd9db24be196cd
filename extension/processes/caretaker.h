/*
 * caretaker.h: the background worker of one database.
 */
#ifndef HAUL_CARETAKER_H
#define HAUL_CARETAKER_H

#include "postgres.h"

/* Its entry point; the argument is the OID of the database. */
extern PGDLLEXPORT void haul_caretaker_main(Datum arg);

#endif
