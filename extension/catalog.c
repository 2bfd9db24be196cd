/*
 * catalog.c: OIDs of our own tables and indexes.
 *
 * They are looked up by name once and kept until a relcache invalidation names
 * one of them: DROP EXTENSION, but also REINDEX CONCURRENTLY, which gives an
 * index a new OID under the old name.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "access/table.h"

#include "compat.h"
#include "catalog.h"

static HaulCatalog catalog;
static bool catalog_valid = false;
static bool outdated; /* an invalidation came while they were looked up */

static const struct
{
	const char *name;
	size_t offset;
} relations[] = {
	{"jobs", offsetof(HaulCatalog, jobs)},
	{"jobs_pkey", offsetof(HaulCatalog, jobs_pkey)},
	{"jobs_ready", offsetof(HaulCatalog, jobs_ready)},
	{"jobs_expires", offsetof(HaulCatalog, jobs_expires)},
	{"_ledger_0", offsetof(HaulCatalog, journals[JOURNAL_LEDGER][0])},
	{"_ledger_1", offsetof(HaulCatalog, journals[JOURNAL_LEDGER][1])},
	{"_leases_0", offsetof(HaulCatalog, journals[JOURNAL_LEASES][0])},
	{"_leases_1", offsetof(HaulCatalog, journals[JOURNAL_LEASES][1])},
	{"_entry_seq", offsetof(HaulCatalog, entry_seq)},
	{"_folds", offsetof(HaulCatalog, folds)},
	{"_folds_pkey", offsetof(HaulCatalog, folds_pkey)},
	{"_lease_id_seq", offsetof(HaulCatalog, lease_id_seq)},
	{"workers", offsetof(HaulCatalog, workers)},
	{"workers_pkey", offsetof(HaulCatalog, workers_pkey)},
	{"queues", offsetof(HaulCatalog, queues)},
	{"queues_pkey", offsetof(HaulCatalog, queues_pkey)},
	{"kinds", offsetof(HaulCatalog, kinds)},
	{"kinds_pkey", offsetof(HaulCatalog, kinds_pkey)},
};

static Oid *
oid_of(int i)
{
	return (Oid *) ((char *) &catalog + relations[i].offset);
}

static void
forget(Datum arg, Oid relation)
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

const HaulCatalog *
haul_catalog(void)
{
	static bool registered = false;
	Relation jobs;

	if (catalog_valid)
		return &catalog;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		registered = true;
	}

	outdated = false;
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
	catalog_valid = !outdated;
	return catalog_valid ? &catalog : haul_catalog();
}

uint64
haul_run_as_owner(const char *command, int nargs, Oid *types, Datum *values)
{
	Oid user;
	int context;
	int settings;
	uint64 rows;

	/*
	 * The owner must not run what the caller's search_path finds. An error leaves
	 * the old user and the old path to the abort of the (sub)transaction.
	 */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(haul_catalog()->owner, context | SECURITY_LOCAL_USERID_CHANGE);
	settings = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	if (SPI_execute_with_args(command, nargs, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(SPI_result));
	rows = SPI_processed;
	SPI_finish();
	AtEOXact_GUC(true, settings);
	SetUserIdAndSecContext(user, context);
	return rows;
}
