/*
 * arguments.c: arguments that the calls of the worker protocol share.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/compat.h"
#include "base/arguments.h"

void
arguments_refuse_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", name)));
}

Token
arguments_token(FunctionCallInfo fcinfo)
{
	Token token;

	arguments_refuse_null(fcinfo, 0, "worker_id");
	arguments_refuse_null(fcinfo, 1, "id");
	arguments_refuse_null(fcinfo, 2, "claim");
	token.worker = PG_GETARG_INT64(0);
	token.id = PG_GETARG_INT64(1);
	token.claim = PG_GETARG_INT32(2);
	return token;
}

int
named_job_compare(const void *a, const void *b)
{
	const NamedJob *x = a;
	const NamedJob *y = b;

	return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
						  : (x->claim > y->claim) - (x->claim < y->claim);
}

int
arguments_array(FunctionCallInfo fcinfo, int argument, const char *name, Oid type, Datum **elements)
{
	int16 length = type == INT8OID ? 8 : 4;
	bool *nulls;
	int count;

	arguments_refuse_null(fcinfo, argument, name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), type, length, length == 4 || FLOAT8PASSBYVAL,
					  length == 8 ? TYPALIGN_DOUBLE : TYPALIGN_INT, elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("array \"%s\" must not hold nulls", name)));
	return count;
}

void
arguments_refuse_lengths(const char *name, int length, int wanted)
{
	if (length != wanted)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("arrays \"ids\" and \"%s\" must have the same length, not %d and %d",
							   name, wanted, length)));
}

int
arguments_jobs(FunctionCallInfo fcinfo, NamedJob **jobs)
{
	Datum *ids;
	Datum *claims;
	int count = arguments_array(fcinfo, 1, "ids", INT8OID, &ids);

	arguments_refuse_lengths("claims", arguments_array(fcinfo, 2, "claims", INT4OID, &claims),
							 count);
	*jobs = palloc((count + 1) * sizeof(NamedJob));
	for (int i = 0; i < count; i++)
	{
		(*jobs)[i].id = DatumGetInt64(ids[i]);
		(*jobs)[i].claim = DatumGetInt32(claims[i]);
		(*jobs)[i].position = i;
	}
	qsort(*jobs, count, sizeof(NamedJob), named_job_compare);
	return count;
}
