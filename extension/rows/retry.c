/*
 * retry.c: when a failed job runs again.
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_collation.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "base/backoff.h"
#include "base/catalog.h"
#include "base/row_reader.h"
#include "base/settings.h"
#include "rows/job.h"
#include "rows/retry.h"

/* columns of haul.kinds */
enum KindColumn
{
	KIND_KIND,
	KIND_BACKOFF,
};

static const Column kind_list[] = {
	[KIND_KIND] = {"kind", TEXTOID},
	[KIND_BACKOFF] = {"backoff", TEXTOID},
	{NULL, InvalidOid},
};
static Columns kind_columns = COLUMNS(kind_list);

static bool
parse_text(Datum value, Backoff *backoff)
{
	text *spelled = DatumGetTextPP(value);

	return backoff_parse(VARDATA_ANY(spelled), VARSIZE_ANY_EXHDR(spelled), backoff);
}

static bool
backoff_of_kind(Datum kind, Backoff *backoff)
{
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	bool found;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   kind);
	row_reader_open(&reader, haul_catalog()->kinds, HAUL_KINDS_PKEY, &kind_columns, AccessShareLock,
					&key, 1);
	row = row_reader_next(&reader);
	found = row != NULL && !column_is_null(&kind_columns, row, KIND_BACKOFF) &&
			parse_text(column_value(&kind_columns, row, KIND_BACKOFF), backoff);
	row_reader_close(&reader);
	return found;
}

TimestampTz
retry_at(TupleTableSlot *job, TimestampTz failed_at)
{
	Backoff backoff;
	double seconds;

	if (!(!job_is_null(job, JOB_BACKOFF) && parse_text(job_value(job, JOB_BACKOFF), &backoff)) &&
		!backoff_of_kind(job_value(job, JOB_KIND), &backoff) &&
		!backoff_parse(haul_backoff, strlen(haul_backoff), &backoff))
		elog(ERROR, "invalid value of setting haul.backoff: \"%s\"", haul_backoff);

	seconds = backoff_seconds(&backoff, job_attempt(job));
	seconds *= 1 + haul_backoff_jitter * (2 * pg_prng_double(&pg_global_prng_state) - 1);
	return failed_at + (int64) (seconds * USECS_PER_SEC);
}

PG_FUNCTION_INFO_V1(haul_backoff_delay);

Datum
haul_backoff_delay(PG_FUNCTION_ARGS)
{
	Backoff backoff;
	int attempt = PG_GETARG_INT32(1);
	Interval *delay = palloc0(sizeof(Interval));

	if (!parse_text(PG_GETARG_DATUM(0), &backoff))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown backoff \"%s\"", TextDatumGetCString(PG_GETARG_DATUM(0))),
						errhint("%s", BACKOFF_HINT)));
	if (attempt < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("attempt must be at least 1, not %d", attempt)));
	delay->time = (TimeOffset) (backoff_seconds(&backoff, attempt) * USECS_PER_SEC);
	PG_RETURN_INTERVAL_P(delay);
}
