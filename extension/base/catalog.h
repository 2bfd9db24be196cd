/*
 * catalog.h: OIDs of our own tables and indexes.
 */
#ifndef HAUL_CATALOG_H
#define HAUL_CATALOG_H

#include "postgres.h"

#include "utils/relcache.h"

typedef enum Journal
{
	JOURNAL_LEDGER,
	JOURNAL_LEASES,
	JOURNALS
} Journal;

#define JOURNAL_SIDES 2 /* its tables */

typedef enum HaulIndex
{
	HAUL_JOBS_PKEY,
	HAUL_JOBS_READY,
	HAUL_JOBS_EXPIRES,
	HAUL_FOLDS_PKEY,
	HAUL_WORKERS_PKEY,
	HAUL_WATCH_PKEY,
	HAUL_QUEUES_PKEY,
	HAUL_KINDS_PKEY,
	HAUL_WORKFLOWS_PKEY,
	HAUL_WORKFLOW_JOBS_PKEY,
	HAUL_WORKFLOW_JOBS_JOB,
	HAUL_GATES_PKEY,
	HAUL_INDEXES
} HaulIndex;

typedef struct HaulCatalog
{
	Oid schema;
	Oid owner; /* of the extension's tables */
	Oid jobs;
	Oid journals[JOURNALS][JOURNAL_SIDES]; /* haul._ledger_0 and _1, haul._leases_0 and _1 */
	Oid entry_seq;
	Oid folds;
	Oid lease_id_seq;
	Oid claim_ceiling;
	Oid claim_base;
	Oid workers;
	Oid watch;
	Oid queues;
	Oid kinds;
	Oid workflows;
	Oid workflow_jobs;
	Oid workflow_ends;
	Oid gates;
	Oid replies;
	Oid replies_id_seq;
	Oid cron_runs;
	Oid indexes[HAUL_INDEXES]; /* for haul_index_open() only */
} HaulCatalog;

/* The OIDs in the current database. Raises an error when the extension is not
 * installed. Valid until the next invalidation: call it again after taking a lock. */
extern const HaulCatalog *haul_catalog(void);

/*
 * Opens an index of a table that is open and locked, to be closed with index_close(). Only under
 * that lock does an index keep its OID: REINDEX CONCURRENTLY makes a new one under the old name,
 * and drops the old one when nobody has the table locked any more who may know it.
 */
extern Relation haul_index_open(Relation table, HaulIndex index);

#endif
