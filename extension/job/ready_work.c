/*
 * ready_work.c: the jobs of a lane that may be claimed now, and for whom they are.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/compat.h"
#include "job/ready_work.h"
#include "rows/job.h"

#define MOST 1000 /* jobs to read */

/* Counts the job. False when there is no room for another audience. */
static bool
add(Work *found, int *count, const Work *wanted, const Audience *audience)
{
	for (int i = 0; i < *count; i++)
		if (audience_is(&found[i].audience, audience))
		{
			found[i].jobs++;
			return true;
		}
	if (*count == READY_AUDIENCES)
		return false;
	found[*count] = *wanted;
	found[*count].audience = *audience;
	found[*count].jobs = 1;
	++*count;
	return true;
}

int
ready_work(JobStore *store, const Work *wanted, TimestampTz now, Work found[READY_AUDIENCES + 1])
{
	text *queue = cstring_to_text_with_len(wanted->lane.queue, wanted->lane.length);
	bool known = wanted->audience.kind != 0;
	bool all = true;
	int count = 0;
	TupleTableSlot *job;

	job_store_begin_lane(store, queue, wanted->lane.priority,
						 lane_key_max(wanted->from, lane_floor(&wanted->lane)), now);
	for (int read = 0; all && (job = job_store_next(store)) != NULL; read++)
	{
		Audience audience;

		if (known && count > 0 && found[0].jobs >= wanted->jobs)
			break;
		if (read == MOST)
			all = false;
		if (!all || !job_is(job, JOB_READY))
			continue;
		audience_of(job, &audience);
		if (!known || audience_is(&audience, &wanted->audience))
			all = add(found, &count, wanted, &audience);
	}
	job_store_end_scan(store);
	pfree(queue);
	if (!all)
		found[count++] = *wanted;
	return count;
}
