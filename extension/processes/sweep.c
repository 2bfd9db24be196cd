/*
 * sweep.c: the search for jobs below the floors, in slices.
 *
 * The net below the callbacks: a job gets below a floor only by ways that no
 * callback sees, such as the apply worker of a subscription. The sweep walks each
 * lane from its start to its floor, dead entries and all, which nobody else does
 * any more: so it takes small steps, and long breaks.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/background.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "job/job_store.h"
#include "processes/survey.h"
#include "processes/sweep.h"
#include "rows/job.h"
#include "shared/lane.h"
#include "shared/waiter.h"

#define SLICE_MILLISECONDS 5.0
#define ENTRIES_BETWEEN_LOOKS 100 /* at the clock */
#define SECOND_LOOK_AFTER (100 * 1000)

/* The sweep under way. */
static struct
{
	bool active;
	LaneTag tag;
	LaneKey floor;	  /* when it began */
	LaneKey position; /* everything below was looked at */
	bool found;
	bool suspected; /* the job at the position was below the floor a moment ago */
	ItemPointerData suspect;
	TransactionId suspect_xmin;
} sweep;

bool
sweep_is_under_way(void)
{
	return sweep.active;
}

static bool
sweep_begin(TimestampTz now)
{
	if (!lane_take_sweep(MyDatabaseId, now - haul_sweep_interval * USECS_PER_SEC, now, &sweep.tag))
		return false;
	sweep.floor = lane_sweep_begins(&sweep.tag);
	sweep.position = LANE_LOWEST;
	sweep.found = false;
	sweep.suspected = false;
	sweep.active = true;
	return true;
}

/* A ready job below the floor. Whoever made it ready may just be about to lower the floor: only
 * the second look at the same version of the row tells. Returns whether it is accounted for. */
static bool
is_settled(TupleTableSlot *job, LaneKey key)
{
	Work work = {.lane = sweep.tag, .from = key, .jobs = 1};
	bool isnull;
	TransactionId xmin =
		DatumGetTransactionId(slot_getsysattr(job, MinTransactionIdAttributeNumber, &isnull));

	if (lane_key_compare(lane_floor(&sweep.tag), key) <= 0)
		return true;
	if (!sweep.suspected || !ItemPointerEquals(&sweep.suspect, &job->tts_tid) ||
		!TransactionIdEquals(sweep.suspect_xmin, xmin))
	{
		sweep.suspected = true;
		sweep.suspect = job->tts_tid;
		sweep.suspect_xmin = xmin;
		return false;
	}
	sweep.found = true;
	(void) lane_lower(&sweep.tag, key);
	if (key.run_at > GetCurrentTimestamp())
		(void) lane_due_at(&sweep.tag, key.run_at);
	else
	{
		audience_of(job, &work.audience);
		(void) waiter_wake(&work);
	}
	return true;
}

/* Walks on until the time is over, or a job needs a second look. Returns whether the floor is
 * reached. */
static bool
walk(JobStore *store, LaneKey floor)
{
	text *queue = cstring_to_text_with_len(sweep.tag.queue, sweep.tag.length);
	bool reached = true;
	instr_time start;
	LaneKey key;
	TupleTableSlot *job;

	INSTR_TIME_SET_CURRENT(start);
	job_store_begin_entries(store, queue, sweep.tag.priority, sweep.position,
							Min(floor.run_at, JOB_LAST_RUN_AT));
	for (int i = 1; job_store_next_entry(store, &key, &job) && lane_key_compare(key, floor) < 0;
		 i++)
	{
		reached = false;
		if (job != NULL && job_is(job, JOB_READY) && !is_settled(job, key))
		{
			sweep.position = key;
			break;
		}
		sweep.position = key;
		if (i % ENTRIES_BETWEEN_LOOKS == 0)
		{
			instr_time now;

			INSTR_TIME_SET_CURRENT(now);
			INSTR_TIME_SUBTRACT(now, start);
			if (INSTR_TIME_GET_MILLISEC(now) > SLICE_MILLISECONDS)
				break;
		}
		reached = true;
	}
	job_store_end_scan(store);
	return reached;
}

static void
sweep_go_on(LaneKey floor)
{
	JobStore *store = job_store_open();
	bool reached = walk(store, floor);

	job_store_close(store);
	if (!reached)
		return;
	sweep.active = false;
	/* due times of jobs that are gone are forgotten, and a lane that is empty may be given up */
	survey_again(&sweep.tag);
	lane_sweep_ends(&sweep.tag, sweep.found);
}

TimestampTz
sweep_slice(TimestampTz now)
{
	static TimestampTz next = DT_NOBEGIN;
	TimestampTz began = GetCurrentTimestamp();
	LaneKey floor;
	bool suspected;
	TimestampTz ended;

	if (now < next)
		return next;
	if (!sweep.active && !sweep_begin(now))
		return next = now + Min(haul_sweep_interval, 10) * USECS_PER_SEC;

	suspected = sweep.suspected;
	/* before the snapshot: a job below this floor was not claimed meanwhile */
	floor = lane_key_min(sweep.floor, lane_floor(&sweep.tag));
	if (!background_begin())
	{
		sweep.active = false;
		return next = now + USECS_PER_SEC;
	}
	if (sweep.tag.jobs == haul_catalog()->jobs)
		sweep_go_on(floor);
	else
	{
		lane_forget(MyDatabaseId, haul_catalog()->jobs);
		sweep.active = false;
	}
	background_commit();

	ended = GetCurrentTimestamp();
	if (sweep.active && sweep.suspected && !suspected)
		return next = ended + SECOND_LOOK_AFTER;
	sweep.suspected = false;
	return next = ended + (TimestampTz) ((ended - began) * (1 / haul_sweep_load - 1));
}
