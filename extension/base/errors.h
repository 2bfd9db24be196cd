/*
 * errors.h: SQLSTATEs of our own.
 */
#ifndef HAUL_ERRORS_H
#define HAUL_ERRORS_H

#include "postgres.h"

/* complete(…, strict => true) for a job that the worker does not own any more */
#define ERRCODE_HAUL_NOT_OWNED MAKE_SQLSTATE('H', 'Q', '0', '0', '1')
/* HQ002 is kept for a queue that is full */
/* the worker has no row in haul.workers */
#define ERRCODE_HAUL_UNKNOWN_WORKER MAKE_SQLSTATE('H', 'Q', '0', '0', '3')

#endif
