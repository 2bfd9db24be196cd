/*
 * outcome.h: notes how jobs ended, for those who wait for it: workflows, schedules, enqueuers.
 *
 * Noted while a call changes jobs, told when it closes (workflow/consequence.h). Jobs that nobody
 * waits for cost nothing here.
 */
#ifndef HAUL_OUTCOME_H
#define HAUL_OUTCOME_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "job/call_data.h"
#include "rows/job.h"

typedef struct Outcome
{
	int64 id;
	int32 claim;
	int32 attempt;
	JobState state;
	bool repeats;			/* a run of a periodic job, which goes on */
	TimestampTz started_at; /* 0: it never began */
	Datum result;			/* 0: none */
	Datum error;			/* 0: none */
	int64 workflow;			/* 0: none */
	text *reply_to;			/* NULL: none, and so on */
	text *cron_name;
	text *enqueued_by;
	Datum job; /* the job as JSON, for the member of a workflow that did not succeed; else 0 */
} Outcome;

static inline bool
outcome_is_success(const Outcome *outcome)
{
	return outcome->state == JOB_COMPLETED;
}

/* The job, or a run of it, is over; result may be 0. */
extern void outcome_note(Call *call, TupleTableSlot *job, JobState state, Datum result,
						 bool repeats);

/* What was told is not needed any more, and there may be many. */
extern void outcome_free(Outcome *outcome);

#endif
