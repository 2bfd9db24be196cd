/*
 * catalog.h: OIDs of our own tables and indexes.
 */
#ifndef HAUL_CATALOG_H
#define HAUL_CATALOG_H

#include "postgres.h"

#include "journal/journal.h"

typedef struct HaulCatalog
{
	Oid schema;
	Oid owner; /* of the extension's tables */
	Oid jobs;
	Oid jobs_pkey;
	Oid jobs_ready;
	Oid jobs_expires;
	Oid journals[JOURNALS][JOURNAL_SIDES]; /* haul._ledger_0 and _1, haul._leases_0 and _1 */
	Oid entry_seq;
	Oid folds;
	Oid folds_pkey;
	Oid lease_id_seq;
	Oid workers;
	Oid workers_pkey;
	Oid queues;
	Oid queues_pkey;
	Oid kinds;
	Oid kinds_pkey;
	Oid workflows;
	Oid workflows_pkey;
	Oid workflow_jobs;
	Oid workflow_jobs_pkey;
	Oid workflow_jobs_job;
	Oid workflow_ends;
	Oid gates;
	Oid gates_pkey;
	Oid replies;
	Oid replies_id_seq;
	Oid cron_runs;
} HaulCatalog;

/* The OIDs in the current database. Raises an error when the extension is not
 * installed. Valid until the next invalidation: call it again after taking a lock. */
extern const HaulCatalog *haul_catalog(void);

/* Runs a command with the rights of the extension's owner; the text must be constant. Jobs that it
 * enqueues are the caller's.
 * nulls as for SPI_execute_with_args(). Returns how many rows it processed. */
extern uint64 haul_run_as_owner(const char *command, int nargs, Oid *types, Datum *values,
								const char *nulls);

/* The same for a query that returns one row: copies of its columns. */
extern void haul_query_as_owner(const char *command, int nargs, Oid *types, Datum *values,
								const char *nulls, Datum *results, bool *result_nulls);

#endif
