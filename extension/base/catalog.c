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
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "access/table.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/settings.h"

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
	{"workflows", offsetof(HaulCatalog, workflows)},
	{"workflows_pkey", offsetof(HaulCatalog, workflows_pkey)},
	{"workflow_jobs", offsetof(HaulCatalog, workflow_jobs)},
	{"workflow_jobs_pkey", offsetof(HaulCatalog, workflow_jobs_pkey)},
	{"workflow_jobs_job", offsetof(HaulCatalog, workflow_jobs_job)},
	{"_workflow_ends", offsetof(HaulCatalog, workflow_ends)},
	{"_gates", offsetof(HaulCatalog, gates)},
	{"_gates_pkey", offsetof(HaulCatalog, gates_pkey)},
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

/* Who was at work before the owner was. */
typedef struct Caller
{
	Oid user;
	int context;
	int settings;
} Caller;

/* In an SPI connection that back_to_caller() closes. */
static Caller
run_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Caller caller;
	const char *enqueuer =
		haul_enqueuer[0] != '\0' ? pstrdup(haul_enqueuer) : GetUserNameFromId(GetUserId(), false);

	/*
	 * The owner must not run what the caller's search_path finds. An error leaves
	 * the old user and the old settings to the abort of the (sub)transaction.
	 */
	GetUserIdAndSecContext(&caller.user, &caller.context);
	SetUserIdAndSecContext(haul_catalog()->owner, caller.context | SECURITY_LOCAL_USERID_CHANGE);
	caller.settings = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("haul.enqueuer", enqueuer, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	SPI_connect();
	if (SPI_execute_with_args(command, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run \"%s\": %s", command, SPI_result_code_string(SPI_result));
	return caller;
}

static void
back_to_caller(Caller caller)
{
	SPI_finish();
	AtEOXact_GUC(true, caller.settings);
	SetUserIdAndSecContext(caller.user, caller.context);
}

uint64
haul_run_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Caller caller = run_as_owner(command, nargs, types, values, nulls);
	uint64 rows = SPI_processed;

	back_to_caller(caller);
	return rows;
}

void
haul_query_as_owner(const char *command, int nargs, Oid *types, Datum *values, const char *nulls,
					Datum *results, bool *result_nulls)
{
	MemoryContext context = CurrentMemoryContext;
	Caller caller = run_as_owner(command, nargs, types, values, nulls);
	TupleDesc columns;

	if (SPI_processed != 1)
		elog(ERROR, "\"%s\" returned " UINT64_FORMAT " rows", command, SPI_processed);
	columns = SPI_tuptable->tupdesc;
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], columns, i + 1, &result_nulls[i]);

		if (!result_nulls[i])
		{
			MemoryContext spi = MemoryContextSwitchTo(context);

			results[i] = datumCopy(value, column->attbyval, column->attlen);
			MemoryContextSwitchTo(spi);
		}
	}
	back_to_caller(caller);
}
