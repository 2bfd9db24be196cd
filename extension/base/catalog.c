/*
 * catalog.c: OIDs of our own tables and indexes.
 *
 * They are looked up by name once and kept until a relcache invalidation names
 * one of them: DROP EXTENSION, but also REINDEX CONCURRENTLY, which gives an
 * index a new OID under the old name.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "base/catalog.h"

static HaulCatalog catalog;
static bool catalog_valid = false;
static bool outdated; /* an invalidation came while they were looked up */

static const struct
{
	const char *name;
	size_t offset;
} relations[] = {
	{"jobs", offsetof(HaulCatalog, jobs)},
	{"jobs_pkey", offsetof(HaulCatalog, indexes[HAUL_JOBS_PKEY])},
	{"jobs_ready", offsetof(HaulCatalog, indexes[HAUL_JOBS_READY])},
	{"jobs_expires", offsetof(HaulCatalog, indexes[HAUL_JOBS_EXPIRES])},
	{"_ledger_0", offsetof(HaulCatalog, journals[JOURNAL_LEDGER][0])},
	{"_ledger_1", offsetof(HaulCatalog, journals[JOURNAL_LEDGER][1])},
	{"_leases_0", offsetof(HaulCatalog, journals[JOURNAL_LEASES][0])},
	{"_leases_1", offsetof(HaulCatalog, journals[JOURNAL_LEASES][1])},
	{"_entry_seq", offsetof(HaulCatalog, entry_seq)},
	{"_folds", offsetof(HaulCatalog, folds)},
	{"_folds_pkey", offsetof(HaulCatalog, indexes[HAUL_FOLDS_PKEY])},
	{"_lease_id_seq", offsetof(HaulCatalog, lease_id_seq)},
	{"_claim_ceiling", offsetof(HaulCatalog, claim_ceiling)},
	{"_claim_base", offsetof(HaulCatalog, claim_base)},
	{"workers", offsetof(HaulCatalog, workers)},
	{"workers_pkey", offsetof(HaulCatalog, indexes[HAUL_WORKERS_PKEY])},
	{"_watch", offsetof(HaulCatalog, watch)},
	{"_watch_pkey", offsetof(HaulCatalog, indexes[HAUL_WATCH_PKEY])},
	{"queues", offsetof(HaulCatalog, queues)},
	{"queues_pkey", offsetof(HaulCatalog, indexes[HAUL_QUEUES_PKEY])},
	{"kinds", offsetof(HaulCatalog, kinds)},
	{"kinds_pkey", offsetof(HaulCatalog, indexes[HAUL_KINDS_PKEY])},
	{"workflows", offsetof(HaulCatalog, workflows)},
	{"workflows_pkey", offsetof(HaulCatalog, indexes[HAUL_WORKFLOWS_PKEY])},
	{"workflow_jobs", offsetof(HaulCatalog, workflow_jobs)},
	{"workflow_jobs_pkey", offsetof(HaulCatalog, indexes[HAUL_WORKFLOW_JOBS_PKEY])},
	{"workflow_jobs_job", offsetof(HaulCatalog, indexes[HAUL_WORKFLOW_JOBS_JOB])},
	{"_workflow_ends", offsetof(HaulCatalog, workflow_ends)},
	{"_gates", offsetof(HaulCatalog, gates)},
	{"_gates_pkey", offsetof(HaulCatalog, indexes[HAUL_GATES_PKEY])},
	{"replies", offsetof(HaulCatalog, replies)},
	{"replies_id_seq", offsetof(HaulCatalog, replies_id_seq)},
	{"cron_runs", offsetof(HaulCatalog, cron_runs)},
};

static Oid *
oid_of(int i)
{
	return (Oid *) ((char *) &catalog + relations[i].offset);
}

static void
catalog_forget(Datum arg, Oid relation)
{
	/* while they are looked up, any message may be about one of them */
	bool ours = !catalog_valid || !OidIsValid(relation);

	for (int i = 0; !ours && i < lengthof(relations); i++)
		ours = *oid_of(i) == relation;
	if (ours)
	{
		catalog_valid = false;
		outdated = true;
	}
}

/* SQL and library are of one version, but while the one creates or updates the other. */
static void
check_version(void)
{
	Relation extensions;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;
	const char *version = "unknown";

	if (creating_extension)
		return;
	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("pg_haul"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (row != NULL)
	{
		bool isnull;

		version = TextDatumGetCString(
			heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull));
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	if (strcmp(version, HAUL_VERSION) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the library pg_haul is of version %s, but the extension in "
							   "database \"%s\" of version %s",
							   HAUL_VERSION, get_database_name(MyDatabaseId), version),
						errhint("Run ALTER EXTENSION pg_haul UPDATE. Where that was done, sessions "
								"still have the library from "
								"before: reconnect, or restart a server that preloads it.")));
}

const HaulCatalog *
haul_catalog(void)
{
	static bool registered = false;
	Relation jobs;

	if (catalog_valid)
		return &catalog;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(catalog_forget, (Datum) 0);
		registered = true;
	}

	outdated = false;
	check_version();
	catalog.schema = get_namespace_oid("haul", true);
	for (int i = 0; i < lengthof(relations); i++)
	{
		*oid_of(i) = OidIsValid(catalog.schema)
						 ? get_relname_relid(relations[i].name, catalog.schema)
						 : InvalidOid;
		if (!OidIsValid(*oid_of(i)))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("relation \"haul.%s\" does not exist", relations[i].name),
							errhint("Install the extension with CREATE EXTENSION pg_haul, or bring "
									"it up to date with ALTER EXTENSION pg_haul UPDATE.")));
	}
	jobs = table_open(catalog.jobs, AccessShareLock);
	catalog.owner = jobs->rd_rel->relowner;
	table_close(jobs, AccessShareLock);
	/* Good for now, as it was at some time since we were called; where it is outdated already, the
	 * next call looks again. To look again here until nothing comes could go on for ever: with
	 * debug_discard_caches, something always comes. */
	catalog_valid = !outdated;
	return &catalog;
}

Relation
haul_index_open(Relation table, HaulIndex index)
{
	Relation opened;

	Assert(CheckRelationLockedByMe(table, AccessShareLock, true));
	opened = index_open(haul_catalog()->indexes[index], AccessShareLock);
	if (opened->rd_index->indrelid != RelationGetRelid(table))
		elog(ERROR, "\"%s\" is not an index of \"%s\"", RelationGetRelationName(opened),
			 RelationGetRelationName(table));
	return opened;
}
