/*
 * audience.c: which workers may take a job, by hashes of names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "base/compat.h"
#include "base/names.h"
#include "rows/audience.h"
#include "rows/job.h"

static void
add_avoided(TupleTableSlot *job, Audience *audience)
{
	Datum *names;
	bool *nulls;
	int count;
	int known = 0;

	deconstruct_array(DatumGetArrayTypeP(job_value(job, JOB_AVOID)), TEXTOID, -1, false,
					  TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			continue;
		if (known == AVOIDED_NAMES)
		{
			audience->avoided[AVOIDED_NAMES - 1] = AND_OTHERS;
			break;
		}
		audience->avoided[known++] = name_hash(DatumGetTextPP(names[i]), 0);
	}
	pfree(names);
	pfree(nulls);
}

void
audience_of(TupleTableSlot *job, Audience *audience)
{
	*audience = ANY_AUDIENCE;
	audience->kind = name_hash(DatumGetTextPP(job_value(job, JOB_KIND)), 0);
	if (DatumGetBool(job_value(job, JOB_PIN_STRICT)) && !job_is_null(job, JOB_PIN))
		audience->only = name_hash(DatumGetTextPP(job_value(job, JOB_PIN)), 0);
	if (!job_is_null(job, JOB_AVOID))
		add_avoided(job, audience);
}
