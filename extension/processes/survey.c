/*
 * survey.c: what there is in the lanes, looked up in the table.
 *
 * Commits tell shared memory what they make ready. The rest is found here: what was there before
 * the server started, what falls due, lanes that had no entry when it mattered, and lanes that came
 * in by ways that no callback sees.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/background.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "job/job_store.h"
#include "job/ready_work.h"
#include "processes/survey.h"
#include "rows/job.h"
#include "shared/database.h"
#include "shared/effects.h"
#include "shared/waiter.h"

#define LANES_AT_ONCE 256		   /* in one transaction */
#define POSTPONED_BY USECS_PER_SEC /* when somebody wants the database exclusively */
#define FIRST_RETRY USECS_PER_SEC  /* of a survey that left lanes unknown, for want of room */

/* ---- one lane ---- */

typedef struct Look
{
	JobStore *store;
	uint64 generation; /* noted before the store took its snapshot */
	TimestampTz now;
} Look;

static void
open_look(Look *look)
{
	look->generation = lane_generation();
	look->now = GetCurrentTimestamp();
	look->store = job_store_open();
}

static LaneKey
key_of(TupleTableSlot *job)
{
	return (LaneKey){job_run_at(job), job_id(job)};
}

/* Where the first ready job stands, from a key on; LANE_HIGHEST when there is none. */
static LaneKey
first_ready(const Look *look, text *queue, int priority, LaneKey from, TimestampTz until)
{
	LaneKey first = LANE_HIGHEST;
	TupleTableSlot *job;

	job_store_begin_lane(look->store, queue, priority, from, until);
	while ((job = job_store_next(look->store)) != NULL)
		if (job_is(job, JOB_READY))
		{
			first = key_of(job);
			break;
		}
	job_store_end_scan(look->store);
	return first;
}

/* Wakes workers for what is due in the lane, from a key on. */
static void
wake_for_due(const Look *look, const LaneTag *tag, LaneKey from)
{
	/* also when nobody waits: whoever looks just now must learn that something came */
	Work any = {.lane = *tag, .from = from, .jobs = 1};
	Work due[READY_AUDIENCES + 1] = {any};
	int count = waiter_count(MyDatabaseId) > 0 ? ready_work(look->store, &any, look->now, due) : 1;

	for (int i = 0; i < count; i++)
		(void) waiter_wake(&due[i]);
}

/* Wakes workers for what is due, if asked to, and notes when more will be. Whether there is
 * anything. */
static bool
look_into(const Look *look, const LaneTag *tag, bool wake)
{
	text *queue = cstring_to_text_with_len(tag->queue, tag->length);
	LaneKey later = {look->now, PG_INT64_MAX};
	LaneScan scan = {.tag = *tag};
	LaneKey due;
	LaneKey next;

	lane_scan_begin(&scan, look->generation, 0, 0);
	scan.has_floor = true; /* or will have, when the database is served */
	due = first_ready(look, queue, tag->priority, scan.from, look->now);
	next = first_ready(look, queue, tag->priority, lane_key_max(scan.from, later), JOB_LAST_RUN_AT);
	scan.reached = lane_key_min(due, next);
	effects_scanned(&scan);
	pfree(queue);

	if (wake && lane_key_compare(due, LANE_HIGHEST) < 0)
		wake_for_due(look, tag, due);
	if (!TIMESTAMP_IS_NOEND(next.run_at) && lane_due_at(tag, next.run_at) == LANE_DUE_LOST)
		(void) database_plan(MyDatabaseId, DATABASE_DUE, next.run_at);
	return lane_key_compare(scan.reached, LANE_HIGHEST) < 0;
}

void
survey_again(const LaneTag *tag)
{
	Look look;

	lane_forget_due(tag); /* in this order: what commits meanwhile is not forgotten */
	open_look(&look);
	(void) look_into(&look, tag, false);
	job_store_close(look.store);
}

/* ---- all lanes ---- */

/* Where a walk through the index is, which may extend over many transactions. */
typedef struct Walk
{
	bool active;
	uint64 begun;
	char queue[VARHDRSZ + QUEUE_BYTES];
	int priority;
} Walk;

static void
survey_begin_walk(Walk *walk)
{
	walk->active = true;
	lane_forget(MyDatabaseId, haul_catalog()->jobs); /* there may have been another one */
	walk->begun = lane_survey_begins();
	SET_VARSIZE(walk->queue, VARHDRSZ);
	walk->priority = PG_INT16_MAX;
}

/* On to the next lane. */
static bool
walk_on(Walk *walk, const Look *look, LaneTag *tag)
{
	text *queue = (text *) walk->queue;

	CHECK_FOR_INTERRUPTS();
	while (!job_store_next_priority(look->store, queue, walk->priority, &walk->priority))
	{
		text *next;

		if (!job_store_next_queue(look->store, queue, &next))
			return false;
		lane_tag(tag, next, 0); /* names that are too long raise an error */
		SET_VARSIZE(queue, VARHDRSZ + tag->length);
		memcpy(VARDATA(queue), tag->queue, tag->length);
		pfree(next);
		walk->priority = 0;
	}
	lane_tag(tag, queue, walk->priority);
	return true;
}

/* Makes the lane known. */
static void
meet(const Look *look, const LaneTag *tag, bool look_anyway)
{
	bool is_new;
	bool has_room = lane_has_room(tag, &is_new);

	/* a lane without an entry matters only if there is something in it */
	if ((is_new || look_anyway) && look_into(look, tag, true) && !has_room)
		(void) lane_ensure(tag);
}

void
survey_all(void)
{
	Walk walk;
	Look look;
	LaneTag tag;

	survey_begin_walk(&walk);
	open_look(&look);
	while (walk_on(&walk, &look, &tag))
		meet(&look, &tag, true);
	job_store_close(look.store);
	(void) lane_survey_ends(walk.begun);
}

/* A survey in slices, for lanes that nobody told us of. */
static Walk slices;

bool
survey_is_under_way(void)
{
	return slices.active;
}

/* Takes a step; returns whether that was the last one. */
static bool
take_step(void)
{
	Look look;
	LaneTag tag;
	bool more = true;

	if (!slices.active)
		survey_begin_walk(&slices);
	open_look(&look);
	for (int i = 0; more && i < LANES_AT_ONCE; i++)
		if ((more = walk_on(&slices, &look, &tag)))
			meet(&look, &tag, false);
	job_store_close(look.store);
	slices.active = more;
	return !more;
}

/* When to begin the next one. */
static TimestampTz
next_begin(bool known, TimestampTz last, TimestampTz now)
{
	static int64 retry = FIRST_RETRY;
	static TimestampTz unknown_since = DT_NOEND;

	if (known)
	{
		retry = FIRST_RETRY;
		unknown_since = DT_NOEND;
		return last + haul_sweep_interval * USECS_PER_SEC;
	}
	/* at once, but if that does not help, there is no room */
	if (TIMESTAMP_IS_NOEND(unknown_since))
		unknown_since = now - retry;
	if (now < unknown_since + retry)
		return unknown_since + retry;
	unknown_since = now;
	retry = Min(2 * retry, USECS_PER_MINUTE);
	return now;
}

TimestampTz
survey_slice(TimestampTz now)
{
	static TimestampTz next = DT_NOBEGIN;
	TimestampTz began = GetCurrentTimestamp();
	TimestampTz ended;
	TimestampTz last;
	bool known = lane_survey_state(MyDatabaseId, &last);

	if (!slices.active)
		next = next_begin(known, last, now);
	if (now < next)
		return next;
	if (!background_begin())
		return now + POSTPONED_BY;
	if (take_step())
		(void) lane_survey_ends(slices.begun);
	background_commit();

	/* as long as lanes are unknown, all checkouts walk */
	ended = GetCurrentTimestamp();
	return next =
			   known ? ended + (TimestampTz) ((ended - began) * (1 / haul_sweep_load - 1)) : ended;
}

/* ---- lanes where jobs fall due ---- */

static void
look_into_due(const LaneTag *tags, int count)
{
	Look look;

	open_look(&look);
	for (int i = 0; i < count; i++)
		if (tags[i].jobs == haul_catalog()->jobs)
			(void) look_into(&look, &tags[i], true);
		else
			lane_forget(MyDatabaseId, haul_catalog()->jobs);
	job_store_close(look.store);
}

/* Those that have no entry of their own; returns when the next is due. */
static TimestampTz
survey_lost(TimestampTz now)
{
	TimestampTz next;

	if (!database_take(MyDatabaseId, DATABASE_DUE, now, &next))
		return next;
	if (!background_begin())
	{
		(void) database_plan(MyDatabaseId, DATABASE_DUE, now + POSTPONED_BY);
		return now + POSTPONED_BY;
	}
	survey_all();
	background_commit();
	(void) database_take(MyDatabaseId, DATABASE_DUE, DT_NOBEGIN, &next);
	return next;
}

TimestampTz
survey_due(void)
{
	static LaneTag tags[LANES_AT_ONCE];
	TimestampTz now = GetCurrentTimestamp(); /* what falls due meanwhile has its turn later */
	TimestampTz next = survey_lost(now);
	int count;

	do
	{
		/* all are taken before the look begins: what commits meanwhile is not lost */
		for (count = 0; count < LANES_AT_ONCE; count++)
			if (!lane_take_due(MyDatabaseId, now, &tags[count]))
				break;
		if (count == 0)
			break;
		if (!background_begin())
		{
			for (int i = 0; i < count; i++)
				(void) lane_due_at(&tags[i], now + POSTPONED_BY);
			break;
		}
		look_into_due(tags, count);
		background_commit();
	} while (count == LANES_AT_ONCE);
	return Min(next, lane_next_due(MyDatabaseId));
}
