/*
 * workflow_rows.h: rows of haul.workflows and haul.workflow_jobs, and the lock of a workflow.
 */
#ifndef HAUL_WORKFLOW_ROWS_H
#define HAUL_WORKFLOW_ROWS_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "storage/lock.h"
#include "utils/timestamp.h"

/*
 * Ends of members hold the lock of their workflow shared, a retry or a cancellation of the workflow
 * exclusively: it must not look at a member that ends just then. Held to the end of the
 * transaction. Many workflows (id modulo WORKFLOW_LOCKS) share one, so that a call takes few; only
 * these ever make somebody wait.
 */
#define WORKFLOW_LOCKS 64

extern void workflow_lock(int64 workflow, LOCKMODE mode);

typedef struct WorkflowMember
{
	int64 workflow;
	int step;
	char *name;
	int64 job;
	TimestampTz run_at;
	int nnext;
	Datum *next;	  /* int4 */
	Datum *gates;	  /* int8 */
	Datum *if_failed; /* text */
} WorkflowMember;

/* NULL when there is none. */
extern WorkflowMember *workflow_member_of_job(int64 job);
extern WorkflowMember *workflow_member_at_step(int64 workflow, int step);

/* Whether the job is a member of a workflow. One that was is not while a dump is being restored:
 * its end would be lost. */
extern bool workflow_knows(int64 job);

#define WORKFLOW_CANCELLED "its workflow was cancelled"

/* Whether the workflow to which the job belongs was cancelled. Under its lock. */
extern bool workflow_is_cancelled(TupleTableSlot *job);

/* The same for a job that is locked: then it is not to be tried again. Takes the lock: whoever
 * cancels the workflow from now on waits until the transaction ends, and sees what it did. */
extern bool workflow_was_cancelled(TupleTableSlot *job);

#endif
