/*
 * settings.c: configuration parameters (haul.*).
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/backoff.h"
#include "base/settings.h"

char *haul_backoff;
double haul_backoff_jitter;
int haul_max_interruptions;
int haul_max_args_size;
int haul_worker_timeout;
int haul_lost_timeout;
int haul_keep_completed;
int haul_keep_failed;
int haul_keep_errors;
int haul_keep_cron_runs;
int haul_keep_workflows;
int haul_keep_replies;
int haul_misfire_grace;
int haul_max_commands;
char *haul_enqueuer;
bool haul_one_by_one;
char *haul_databases;
int haul_max_lanes;
int haul_max_queues;
int haul_max_lanes_per_queue;
int haul_sweep_interval;
double haul_sweep_load;
int haul_maintenance_interval;
int haul_reconnect_grace;

static bool
setting_check_backoff(char **value, void **extra, GucSource source)
{
	Backoff backoff;

	if (backoff_parse(*value, strlen(*value), &backoff))
		return true;
	GUC_check_errdetail("\"%s\" is not a backoff.", *value);
	GUC_check_errhint("%s", BACKOFF_HINT);
	return false;
}

static bool
setting_check_databases(char **value, void **extra, GucSource source)
{
	char *copy = pstrdup(*value);
	List *names;
	bool valid = SplitIdentifierString(copy, ',', &names);

	pfree(copy);
	if (!valid)
		GUC_check_errdetail("It must be a list of names of databases, separated by commas, or *.");
	return valid;
}

/* What has an effect only if the server preloads us. */
static void
define_background_settings(void)
{
	DefineCustomStringVariable(
		"haul.databases",
		"Databases that a background worker serves; *: all that have the extension.", NULL,
		&haul_databases, "*", PGC_SIGHUP, 0, setting_check_databases, NULL, NULL);
	/* loaded later, it has no effect, and the server does not accept that context */
	DefineCustomIntVariable(
		"haul.max_lanes",
		"Lanes (a queue and a priority) of all databases for which shared memory has room.",
		"With more lanes than that, checkouts walk through all of them.", &haul_max_lanes, 32768,
		16, 1000000, process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP, 0,
		NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.max_queues", "Queues of a database that have jobs, at most.",
		"Jobs for more are refused. Where no background worker serves the database, none are.",
		&haul_max_queues, 25000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.max_lanes_per_queue", "Priorities of a queue that have jobs, at most.",
		"Jobs of others are refused. Where no background worker serves the database, none are.",
		&haul_max_lanes_per_queue, 5000, 1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("haul.sweep_interval",
							"How often a lane is searched for jobs below its floor, at most.", NULL,
							&haul_sweep_interval, 60, 1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomRealVariable(
		"haul.sweep_load",
		"Part of one processor core that these searches take in a database, at most.", NULL,
		&haul_sweep_load, 0.01, 0.0001, 1.0, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.maintenance_interval",
		"How often the background worker maintains a database in which something happens.", NULL,
		&haul_maintenance_interval, 10, 1, INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"haul.reconnect_grace",
		"Time that a worker whose sessions ended has to come back, before it is lost.",
		"Concerns workers that are connected without a pooler.", &haul_reconnect_grace, 3000, 0,
		INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

void
haul_settings_define(void)
{
	DefineCustomStringVariable(
		"haul.backoff", "Backoff of jobs for which neither the job nor its kind says one.", NULL,
		&haul_backoff, "exponential(5,2)", PGC_SUSET, 0, setting_check_backoff, NULL, NULL);
	DefineCustomRealVariable(
		"haul.backoff_jitter",
		"Fraction by which each backoff varies at random: 0.1 is up to 10 % either way.", NULL,
		&haul_backoff_jitter, 0.1, 0.0, 1.0, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.max_interruptions", "A job whose worker died in mid-run this often fails.", NULL,
		&haul_max_interruptions, 3, 2, SHRT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.max_args_size", "How long args of a job, results, progress and error details may be.",
		"As text. Longer ones are refused; error texts are cut.", &haul_max_args_size, 1024 * 1024,
		1024, LONGEST_VALUE, PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.worker_timeout", "A worker that has been silent for this long is lost.",
		"Its jobs are offered to others, but for those that an interruption would end.",
		&haul_worker_timeout, 14, 1, INT_MAX / 1000, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.lost_timeout", "A lost worker that has not come back after this time is dead.",
		"Its row is deleted, and what it was running is charged with an interruption.",
		&haul_lost_timeout, 60, 0, INT_MAX / 1000, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.keep_completed", "How long completed jobs stay in haul.finished_jobs; 0: not kept.",
		"A queue or a job may say otherwise. Whole hours are dropped at once.",
		&haul_keep_completed, 3600, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.keep_failed",
		"How long failed, discarded and cancelled jobs stay in haul.finished_jobs; 0: not kept.",
		"A queue or a job may say otherwise. Whole days are dropped at once.", &haul_keep_failed,
		7 * 86400, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("haul.keep_errors", "How long rows stay in haul.job_errors.",
							"Whole days are dropped at once.", &haul_keep_errors, 30 * 86400, 0,
							INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("haul.keep_cron_runs", "How long rows stay in haul.cron_runs.", NULL,
							&haul_keep_cron_runs, 30 * 86400, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.keep_workflows", "How long a workflow stays after its last job ended.", NULL,
		&haul_keep_workflows, 7 * 86400, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.keep_replies", "How long rows stay in haul.replies that nobody takes.", NULL,
		&haul_keep_replies, 86400, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"haul.misfire_grace",
		"A tick of a schedule that is late by more than this was missed; by less, it still fires.",
		NULL, &haul_misfire_grace, 30, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("haul.max_commands",
							"Commands of schedules that run at once in a database.",
							"Each takes one of max_worker_processes.", &haul_max_commands, 4, 1,
							1000, PGC_SUSET, 0, NULL, NULL, NULL);
	/* for functions of ours, which set it until they return */
	DefineCustomStringVariable(
		"haul.enqueuer", "Role for which functions of the extension enqueue jobs.", NULL,
		&haul_enqueuer, "", PGC_SUSET, GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL | GUC_DISALLOW_IN_FILE,
		NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"haul.one_by_one", "Whether maintenance gives each job a subtransaction of its own.", NULL,
		&haul_one_by_one, false, PGC_SUSET,
		GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL | GUC_DISALLOW_IN_FILE, NULL, NULL, NULL);
	define_background_settings();
	MarkGUCPrefixReserved("haul");
}

PG_FUNCTION_INFO_V1(haul_setting);

Datum
haul_setting(PG_FUNCTION_ARGS)
{
	const char *value = GetConfigOptionByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL, false);

	/* the units of settings are units of intervals, too */
	Interval *time = DatumGetIntervalP(DirectFunctionCall3(
		interval_in, CStringGetDatum(value), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	/* a day is 24 hours, whatever the session's time zone does */
	time->time += time->day * USECS_PER_DAY;
	time->day = 0;
	PG_RETURN_INTERVAL_P(time);
}
