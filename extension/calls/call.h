/*
 * call.h: opens and closes calls that change jobs.
 */
#ifndef HAUL_CALL_H
#define HAUL_CALL_H

#include "postgres.h"

#include "job/call_data.h"

/* command: for the error on a read-only server or in a read-only transaction */
extern Call *call_open(const char *command);

/* Writes what was counted and recorded, and tells how jobs ended to those who wait for it. */
extern void call_close(Call *call);

#endif
