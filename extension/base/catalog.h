/*
 * catalog.h: OIDs of our own tables and indexes.
 */
#ifndef HAUL_CATALOG_H
#define HAUL_CATALOG_H

#include "postgres.h"

typedef enum Journal
{
	JOURNAL_LEDGER,
	JOURNAL_LEASES,
	JOURNALS
} Journal;

#define JOURNAL_SIDES 2 /* its tables */

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

#endif
