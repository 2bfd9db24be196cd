/*
 * owner.h: commands that run with the rights of the extension's owner.
 */
#ifndef HAUL_OWNER_H
#define HAUL_OWNER_H

#include "postgres.h"

/* Runs a command with the rights of the extension's owner; the text must be constant. Jobs that it
 * enqueues are the caller's.
 * nulls as for SPI_execute_with_args(). Returns how many rows it processed. */
extern uint64 haul_run_as_owner(const char *command, int nargs, Oid *types, Datum *values,
								const char *nulls);

/* The same for a query that returns one row: copies of its columns. */
extern void haul_query_as_owner(const char *command, int nargs, Oid *types, Datum *values,
								const char *nulls, Datum *results, bool *result_nulls);

#endif
