/*
 * job_check.c: the row trigger of haul.jobs: checks and fills in every INSERT and UPDATE.
 *
 * Whoever writes to the table, with whatever rights, what stands in it is valid:
 * job_store and its callers rely on that. Columns that the queue itself sets
 * cannot be set from outside, but by the restore of a dump (restore.h).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/backoff.h"
#include "base/catalog.h"
#include "base/json_size.h"
#include "base/restore.h"
#include "base/settings.h"
#include "base/times.h"
#include "job/job_store.h"
#include "rows/job.h"
#include "shared/effects.h"

#define SHORTEST_PERIOD 1000 /* µs */
#define AVOID_BYTES (8 * 1024)
#define KIND_HINT "Name the kind of work, under which workers register a handler."

/* What the checks look at. */
typedef struct Row
{
	Relation table;
	TupleTableSlot *job;
} Row;

static Form_pg_attribute
attribute_of(Relation table, enum JobColumn column)
{
	return TupleDescAttr(RelationGetDescr(table), job_columns.places[column]);
}

static const char *
column_name(const Row *row, enum JobColumn column)
{
	return NameStr(attribute_of(row->table, column)->attname);
}

/* The value, shortened, for a message. */
static char *
column_shown(const Row *row, enum JobColumn column)
{
	Oid output;
	bool varlena;
	char *text;

	if (job_is_null(row->job, column))
		return pstrdup("null");
	getTypeOutputInfo(attribute_of(row->table, column)->atttypid, &output, &varlena);
	text = OidOutputFunctionCall(output, job_value(row->job, column));
	if (strlen(text) > 100)
	{
		text[pg_mbcliplen(text, strlen(text), 100)] = '\0';
		text = psprintf("%s…", text);
	}
	return text;
}

/* problem completes "haul.jobs.column …": "must be …" */
static void
job_refuse(const Row *row, enum JobColumn column, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("haul.jobs.%s %s, not \"%s\"", column_name(row, column), problem,
					column_shown(row, column)),
			 errhint("%s", hint), errtablecol(row->table, column_number(&job_columns, column))));
}

static void
check_not_null(const Row *row)
{
	for (int column = 0; column < JOB_COLUMNS; column++)
		if (job_is_null(row->job, column) && attribute_of(row->table, column)->attnotnull)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("haul.jobs.%s must not be null", column_name(row, column)),
					 column == JOB_KIND ? errhint(KIND_HINT)
										: errhint("Leave the column out to get its default."),
					 errtablecol(row->table, column_number(&job_columns, column))));
}

static void
check_length(const Row *row, enum JobColumn column, int longest)
{
	struct varlena *text;
	int bytes;
	int length;
	char *problem;

	if (job_is_null(row->job, column))
		return;
	text = PG_DETOAST_DATUM_PACKED(job_value(row->job, column));
	bytes = VARSIZE_ANY_EXHDR(text);
	/* no character is longer than four bytes, none shorter than one */
	if (bytes >= 1 && bytes <= longest)
		return;
	length = pg_mbstrlen_with_len(VARDATA_ANY(text), bytes);
	problem = psprintf("must have 1 to %d characters", longest);
	if (length > longest)
		job_refuse(row, column, problem,
				   psprintf("It has %d characters: use a shorter one.", length));
	if (length < 1)
		job_refuse(row, column, problem,
				   column == JOB_KIND ? KIND_HINT : "Give it a name, or leave the column out.");
}

static void
check_at_least(const Row *row, enum JobColumn column, int32 value, int32 least)
{
	if (value < least)
		job_refuse(row, column, psprintf("must be at least %d", least),
				   "Leave the column out to get its default.");
}

/* words: NULL-terminated */
static void
check_word(const Row *row, enum JobColumn column, const char *const *words)
{
	StringInfoData list;

	for (int i = 0; words[i] != NULL; i++)
		if (job_says(row->job, column, words[i]))
			return;
	initStringInfo(&list);
	for (int i = 0; words[i] != NULL; i++)
		appendStringInfo(&list, "%s%s",
						 i == 0					? ""
						 : words[i + 1] == NULL ? " or "
												: ", ",
						 words[i]);
	job_refuse(row, column, psprintf("must be %s", list.data),
			   "Leave the column out to get its default.");
}

static void
check_interval(const Row *row, enum JobColumn column, int64 least)
{
	const char *problem;

	if (job_is_null(row->job, column))
		return;
	problem = interval_problem(DatumGetIntervalP(job_value(row->job, column)), least);
	if (problem != NULL)
		job_refuse(
			row, column, problem,
			"Give a duration of up to 1000 years, in all and in each of its parts, or leave the "
			"column out.");
}

static void
check_time(const Row *row, enum JobColumn column)
{
	if (!job_is_null(row->job, column) &&
		!time_is_within_bounds(DatumGetTimestampTz(job_value(row->job, column))))
		job_refuse(row, column, TIME_BOUNDS, "Give a date and a time of these years.");
}

/* Only a waiting job may be parked. */
static void
check_run_at(const Row *row)
{
	if (!job_is(row->job, JOB_WAITING) || job_run_at(row->job) != JOB_PARKED)
		check_time(row, JOB_RUN_AT);
}

static void
check_args(const Row *row)
{
	struct varlena *args = (struct varlena *) DatumGetPointer(job_value(row->job, JOB_ARGS));
	uint32 header;

	if (VARATT_IS_COMPRESSED(args) || VARATT_IS_EXTERNAL(args))
		args = PG_DETOAST_DATUM_SLICE(job_value(row->job, JOB_ARGS), 0, sizeof(header));
	memcpy(&header, VARDATA_ANY(args), sizeof(header));
	if ((header & JB_FOBJECT) == 0)
		job_refuse(row, JOB_ARGS, "must be a JSON object",
				   "Put the value into an object: {\"value\": …}.");
}

/* Not with the value in the message: it may be too long for that, too. */
static void
check_args_size(const Row *row)
{
	if (!job_is_null(row->job, JOB_ARGS) &&
		!json_fits(job_value(row->job, JOB_ARGS), haul_max_args_size))
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
						errmsg("haul.jobs.args must not be longer than %d bytes as text",
							   haul_max_args_size),
						errhint("Put the data into a table or a file and pass on where they are, "
								"or raise the setting haul.max_args_size."),
						errtablecol(row->table, column_number(&job_columns, JOB_ARGS))));
}

static void
check_job_backoff(const Row *row)
{
	text *spelled;
	Backoff backoff;

	if (job_is_null(row->job, JOB_BACKOFF))
		return;
	spelled = DatumGetTextPP(job_value(row->job, JOB_BACKOFF));
	if (!backoff_parse(VARDATA_ANY(spelled), VARSIZE_ANY_EXHDR(spelled), &backoff))
		job_refuse(row, JOB_BACKOFF, "must be a backoff", BACKOFF_HINT);
}

/* Every checkout that passes the job by looks through them. */
static void
check_avoid(const Row *row)
{
	ArrayType *names;

	if (job_is_null(row->job, JOB_AVOID))
		return;
	if (toast_raw_datum_size(job_value(row->job, JOB_AVOID)) > AVOID_BYTES)
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
						errmsg("haul.jobs.avoid must not hold more than %d bytes", AVOID_BYTES),
						errhint("Give the workers that are to take the job a kind or a queue of "
								"their own."),
						errtablecol(row->table, column_number(&job_columns, JOB_AVOID))));
	names = DatumGetArrayTypeP(job_value(row->job, JOB_AVOID));
	if (array_contains_nulls(names))
		job_refuse(row, JOB_AVOID, "must not hold nulls", "List the names of workers.");
}

static void
check_every(const Row *row)
{
	check_interval(row, JOB_EVERY, SHORTEST_PERIOD);
	if (!job_is_null(row->job, JOB_EVERY) && !job_is_null(row->job, JOB_WORKFLOW_ID))
		job_refuse(row, JOB_EVERY, "must be null in a workflow", "Jobs of a workflow run once.");
}

static void
check_values(const Row *row)
{
	static const char *const on_timeout[] = {"retry", "discard", NULL};
	static const char *const on_interrupt[] = {"retry", "fail", "discard", NULL};
	static const char *const unique_until[] = {"finished", "started", NULL};
	const char *const state[] = {job_state_word(JOB_READY), job_state_word(JOB_RUNNING),
								 job_state_word(JOB_WAITING), NULL};
	TupleTableSlot *job = row->job;

	check_not_null(row);
	check_length(row, JOB_QUEUE, 63);
	check_length(row, JOB_KIND, 128);
	check_args(row);
	check_at_least(row, JOB_PRIORITY, DatumGetInt16(job_value(job, JOB_PRIORITY)), 1);
	check_run_at(row);
	check_at_least(row, JOB_MAX_ATTEMPTS, DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)), 1);
	check_job_backoff(row);
	check_interval(row, JOB_TIMEOUT, 1);
	check_word(row, JOB_ON_TIMEOUT, on_timeout);
	check_interval(row, JOB_QUEUE_TIMEOUT, 1);
	check_time(row, JOB_EXPIRES_AT);
	check_word(row, JOB_ON_INTERRUPT, on_interrupt);
	check_length(row, JOB_UNIQUE_KEY, 512);
	check_word(row, JOB_UNIQUE_UNTIL, unique_until);
	check_length(row, JOB_CONCURRENCY_KEY, 512);
	check_at_least(row, JOB_CONCURRENCY_LIMIT, DatumGetInt32(job_value(job, JOB_CONCURRENCY_LIMIT)),
				   1);
	check_length(row, JOB_PIN, 255);
	if (DatumGetBool(job_value(job, JOB_PIN_STRICT)) && job_is_null(job, JOB_PIN))
		job_refuse(row, JOB_PIN_STRICT, "must be false without a pin",
				   "Name the worker in haul.jobs.pin.");
	check_avoid(row);
	check_every(row);
	check_length(row, JOB_REPLY_TO, 255);
	check_interval(row, JOB_KEEP, 0);
	check_length(row, JOB_CRON_NAME, 255);
	check_time(row, JOB_ENQUEUED_AT);
	check_word(row, JOB_STATE, state);
	check_at_least(row, JOB_ATTEMPT, job_attempt(job), 0);
	check_at_least(row, JOB_CLAIM, job_claim(job), 0);
	check_at_least(row, JOB_INTERRUPTIONS, DatumGetInt16(job_value(job, JOB_INTERRUPTIONS)), 0);
	if (job_attempt(job) + !job_is(job, JOB_RUNNING) >
		DatumGetInt32(job_value(job, JOB_MAX_ATTEMPTS)))
		job_refuse(row, JOB_MAX_ATTEMPTS,
				   psprintf("must be more than the %d attempts already made", job_attempt(job)),
				   "Allow more attempts, or delete the job.");
}

/* Columns that the queue sets and an INSERT must leave alone. */
static const enum JobColumn set_by_queue[] = {
	JOB_WORKER_ID, JOB_LEASE_ID, JOB_STARTED_AT, JOB_INTERRUPTED_AT, JOB_LAST_ERROR, JOB_PROGRESS,
};

static void
refuse_set_by_queue(const Row *row, enum JobColumn column)
{
	job_refuse(row, column, "is set by the queue", "Leave the column out.");
}

static void
check_is_new(const Row *row)
{
	TupleTableSlot *job = row->job;

	if (job_is(job, JOB_RUNNING))
		job_refuse(row, JOB_STATE, "must be ready or waiting",
				   "Only haul.checkout() makes a job running.");
	if (job_attempt(job) != 0)
		refuse_set_by_queue(row, JOB_ATTEMPT);
	if (job_claim(job) != 0)
		refuse_set_by_queue(row, JOB_CLAIM);
	if (DatumGetInt16(job_value(job, JOB_INTERRUPTIONS)) != 0)
		refuse_set_by_queue(row, JOB_INTERRUPTIONS);
	for (int i = 0; i < lengthof(set_by_queue); i++)
		if (!job_is_null(job, set_by_queue[i]))
			refuse_set_by_queue(row, set_by_queue[i]);
}

/* A job as a dump has it: whoever holds it must be known. */
static void
check_is_restorable(const Row *row)
{
	TupleTableSlot *job = row->job;
	bool running = job_is(job, JOB_RUNNING);

	if (running && (job_claim(job) < 1 || job_attempt(job) < 1))
		job_refuse(row, JOB_STATE, "must be ready or waiting for a job never checked out",
				   "Only haul.checkout() makes a job running.");
	if (running != !job_is_null(job, JOB_WORKER_ID))
		ereport(
			ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("haul.jobs.worker_id must name a worker if, and only if, the job is running"),
			 errhint("Leave the column out."),
			 errtablecol(row->table, column_number(&job_columns, JOB_WORKER_ID))));
}

static bool
is_changed(TupleTableSlot *before, TupleTableSlot *after, Relation table, enum JobColumn column)
{
	Form_pg_attribute attribute = attribute_of(table, column);

	if (job_is_null(before, column) || job_is_null(after, column))
		return job_is_null(before, column) != job_is_null(after, column);
	return !datumIsEqual(job_value(before, column), job_value(after, column), attribute->attbyval,
						 attribute->attlen);
}

static void
check_change(const Row *row, TupleTableSlot *before)
{
	static const enum JobColumn fixed[] = {
		JOB_ID,		   JOB_ENQUEUED_AT, JOB_ENQUEUED_BY, JOB_CLAIM,			 JOB_INTERRUPTIONS,
		JOB_WORKER_ID, JOB_LEASE_ID,	JOB_STARTED_AT,	 JOB_INTERRUPTED_AT, JOB_WORKFLOW_ID,
		JOB_CRON_NAME,
	};
	bool running = job_is(before, JOB_RUNNING);

	for (int i = 0; i < lengthof(fixed); i++)
		if (is_changed(before, row->job, row->table, fixed[i]))
			job_refuse(row, fixed[i], "cannot be changed",
					   "Only the queue changes it. Leave the column as it is.");
	if (running != job_is(row->job, JOB_RUNNING))
		job_refuse(row, JOB_STATE, running ? "must stay running" : "must be ready or waiting",
				   "Only the worker protocol takes a job to the state running and out of it.");
	if (running && is_changed(before, row->job, row->table, JOB_ATTEMPT))
		job_refuse(row, JOB_ATTEMPT, "cannot be changed while the job is running",
				   "Wait until it is ready again.");
}

/* What the trigger changes in a row. */
typedef struct Patch
{
	int count;
	int columns[2];
	Datum values[2];
	bool nulls[2];
} Patch;

static void
patch_add(Patch *patch, enum JobColumn column, Datum value)
{
	patch->columns[patch->count] = column_number(&job_columns, column);
	patch->values[patch->count] = value;
	patch->nulls[patch->count] = false;
	patch->count++;
}

static void
patch_clear(Patch *patch, enum JobColumn column)
{
	patch_add(patch, column, (Datum) 0);
	patch->nulls[patch->count - 1] = true;
}

/* expires_at follows from queue_timeout, for a job that has not been started, unless it is given.
 */
static void
fill_in_expiry(const Row *row, TupleTableSlot *before, Patch *patch)
{
	TupleTableSlot *job = row->job;
	TimestampTz from;

	if (before == NULL ? !job_is_null(job, JOB_EXPIRES_AT)
					   : is_changed(before, job, row->table, JOB_EXPIRES_AT))
		return;
	if (before != NULL && !is_changed(before, job, row->table, JOB_QUEUE_TIMEOUT) &&
		!is_changed(before, job, row->table, JOB_RUN_AT))
		return;
	if (job_is_null(job, JOB_QUEUE_TIMEOUT))
	{
		/* an expiry that followed from it goes with it */
		if (before != NULL && !job_is_null(before, JOB_QUEUE_TIMEOUT))
			patch_clear(patch, JOB_EXPIRES_AT);
		return;
	}
	/* of a parked job: when it is made ready */
	if (job_attempt(job) > 0 || job_run_at(job) == JOB_PARKED)
		return;
	from = Max(job_run_at(job), DatumGetTimestampTz(job_value(job, JOB_ENQUEUED_AT)));
	patch_add(patch, JOB_EXPIRES_AT,
			  TimestampTzGetDatum(
				  time_after(from, DatumGetIntervalP(job_value(job, JOB_QUEUE_TIMEOUT)))));
}

/* Whoever may change any job may enqueue one again for the role that did so before. */
static bool
may_enqueue_for_others(const Row *row)
{
	char *other = TextDatumGetCString(job_value(row->job, JOB_ENQUEUED_BY));

	return pg_class_aclcheck(RelationGetRelid(row->table), GetUserId(), ACL_UPDATE) ==
			   ACLCHECK_OK &&
		   OidIsValid(get_role_oid(other, true));
}

/* Functions of ours that enqueue for others say for whom. */
static void
fill_in_enqueued_by(const Row *row, Patch *patch)
{
	const char *user =
		haul_enqueuer[0] != '\0' ? haul_enqueuer : GetUserNameFromId(GetUserId(), false);

	if (!job_says(row->job, JOB_ENQUEUED_BY, user) &&
		(haul_enqueuer[0] != '\0' || !may_enqueue_for_others(row)))
		patch_add(patch, JOB_ENQUEUED_BY, CStringGetTextDatum(user));
}

static void
note_ready(const Row *row, const Patch *patch, bool restoring)
{
	TupleTableSlot *job = row->job;
	bool expires = !job_is_null(job, JOB_EXPIRES_AT);
	Datum expires_at = job_value(job, JOB_EXPIRES_AT);

	effects_job_ready(job, !restoring);
	for (int i = 0; i < patch->count; i++)
		if (patch->columns[i] == column_number(&job_columns, JOB_EXPIRES_AT))
		{
			expires = !patch->nulls[i];
			expires_at = patch->values[i];
		}
	if (expires)
		effects_job_expires(DatumGetTimestampTz(expires_at), job_id(job));
}

PG_FUNCTION_INFO_V1(haul_check_job);

Datum
haul_check_job(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleTableSlot *before = NULL;
	HeapTuple tuple;
	Row row;
	Patch patch = {0};
	bool restoring;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != haul_catalog()->jobs)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("haul._check_job() is the row trigger of INSERT and UPDATE on haul.jobs")));

	row.table = trigger->tg_relation;
	columns_find(&job_columns, row.table);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		tuple = trigger->tg_newtuple;
		before = trigger->tg_trigslot;
		slot_getallattrs(before);
		if (job_store_is_writing(job_id(before)))
			return PointerGetDatum(tuple);
		row.job = trigger->tg_newslot;
	}
	else
	{
		tuple = trigger->tg_trigtuple;
		row.job = trigger->tg_trigslot;
	}
	slot_getallattrs(row.job);

	restoring = before == NULL && restore_into(haul_catalog()->jobs, "jobs");

	/* what is restored was within the limit of its time */
	if (before == NULL ? !restoring : is_changed(before, row.job, row.table, JOB_ARGS))
		check_args_size(&row);
	check_values(&row);
	if (before != NULL)
		check_change(&row, before);
	else if (restoring)
		check_is_restorable(&row);
	else
	{
		check_is_new(&row);
		fill_in_enqueued_by(&row, &patch);
	}
	fill_in_expiry(&row, before, &patch);

	/* with a key it may be a duplicate, and never come in: haul_note_keyed_job() sees to it */
	if (job_is(row.job, JOB_READY) && (before != NULL || job_is_null(row.job, JOB_UNIQUE_KEY)))
		note_ready(&row, &patch, restoring);
	else if (job_is(row.job, JOB_WAITING) && before == NULL && !restoring)
		effects_job_waits(DatumGetTextPP(job_value(row.job, JOB_QUEUE)),
						  DatumGetInt16(job_value(row.job, JOB_PRIORITY)));
	if (patch.count > 0)
		tuple = heap_modify_tuple_by_cols(tuple, RelationGetDescr(row.table), patch.count,
										  patch.columns, patch.values, patch.nulls);
	return PointerGetDatum(tuple);
}

PG_FUNCTION_INFO_V1(haul_note_keyed_job);

/* After the INSERT of a ready job that has a unique key. */
Datum
haul_note_keyed_job(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Patch patch = {0};
	Row row;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		RelationGetRelid(trigger->tg_relation) != haul_catalog()->jobs)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("haul._note_keyed_job() is a row trigger of INSERT on haul.jobs")));
	row.table = trigger->tg_relation;
	columns_find(&job_columns, row.table);
	row.job = trigger->tg_trigslot;
	slot_getallattrs(row.job);
	note_ready(&row, &patch, restore_into(haul_catalog()->jobs, "jobs"));
	return PointerGetDatum(NULL);
}
