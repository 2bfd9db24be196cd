/*
 * command.h: a process that runs the command of a schedule, and what it is told and reports.
 */
#ifndef HAUL_COMMAND_H
#define HAUL_COMMAND_H

#include "postgres.h"

#include "fmgr.h"
#include "storage/lock.h"

#define COMMAND_MESSAGE 1024

typedef enum CommandOutcome
{
	COMMAND_OPEN, /* it has not ended yet, or died without a word */
	COMMAND_SUCCEEDED,
	COMMAND_FAILED
} CommandOutcome;

/* A piece of dynamic shared memory that the runner and the process have in common. */
typedef struct CommandOrder
{
	/* set by the runner before the process begins */
	int64 run;			 /* haul.cron_runs.id */
	Oid home;			 /* database of the schedule */
	Oid runs;			 /* haul.cron_runs there */
	int encoding;		 /* of that database, and of what stands here */
	NameData database;	 /* where it is to run */
	NameData username;	 /* as whom */

	/* set by the process, read by the runner when that has ended */
	int pid;
	CommandOutcome outcome;
	char message[COMMAND_MESSAGE];

	char text[FLEXIBLE_ARRAY_MEMBER];
} CommandOrder;

/* Held by the process while it lives: whoever is granted it knows that the run is over. */
static inline void
command_lock_tag(LOCKTAG *tag, Oid home, Oid runs, int64 run)
{
	SET_LOCKTAG_OBJECT(*tag, home, runs, (uint32) run, 2);
}

extern PGDLLEXPORT void haul_command_main(Datum arg);

#endif
