/*
 * job.c: what can be said of a job by its row alone.
 */
#include "postgres.h"

#include "access/detoast.h"

#include "base/compat.h"
#include "base/json_size.h"
#include "rows/job.h"

/* so short that it can be no longer than 400 MB as text: two of them fit into a message */
#define SMALL_JSON (32 * 1024)

static Size
size_of(TupleTableSlot *job, enum JobColumn column)
{
	return job_is_null(job, column) ? 0 : toast_raw_datum_size(job_value(job, column));
}

static Size
longest(TupleTableSlot *job, enum JobColumn column)
{
	return job_is_null(job, column) ? 0 : json_longest(job_value(job, column));
}

Size
job_longest(TupleTableSlot *job)
{
	return longest(job, JOB_ARGS) + longest(job, JOB_PROGRESS) + 6 * size_of(job, JOB_LAST_ERROR);
}

static bool
fits(TupleTableSlot *job, enum JobColumn column)
{
	return size_of(job, column) <= SMALL_JSON || json_fits(job_value(job, column), LONGEST_VALUE);
}

bool
job_is_deliverable(TupleTableSlot *job)
{
	return fits(job, JOB_ARGS) && fits(job, JOB_PROGRESS) &&
		   size_of(job, JOB_LAST_ERROR) <=
			   LONGEST_VALUE + 100; /* with the remark that it was cut */
}
