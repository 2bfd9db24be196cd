/*
 * command.h: a process that runs the command of a schedule, and what it is told and reports.
 */
#ifndef HAUL_COMMAND_H
#define HAUL_COMMAND_H

#include "postgres.h"

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
	int encoding;	   /* of the database of the schedule, and of what stands here */
	NameData database; /* where it is to run */
	NameData username; /* as whom */

	/* set by the process, read by the runner when that has ended */
	int pid;
	CommandOutcome outcome;
	char message[COMMAND_MESSAGE];

	char text[FLEXIBLE_ARRAY_MEMBER];
} CommandOrder;

extern PGDLLEXPORT void haul_command_main(Datum arg);

#endif
