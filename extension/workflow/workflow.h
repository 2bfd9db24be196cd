/*
 * workflow.h: jobs that wait for others.
 *
 * A workflow is a graph without cycles, made whole (haul.workflow) and never changed. A job waits
 * (state waiting, parked) until all that it comes after have ended well; then it is made ready in
 * the transaction that ended the last of them. What one that ended otherwise means for those after
 * it stands on each edge: cancel, wait, or run all the same.
 *
 * A job that comes after one other is released by its end. One that comes after several has gates:
 * counters of what is still missing. A gate counts at most WORKFLOW_GATE_SIZE edges, or as many
 * gates: so however many jobs meet in one, transactions that end them seldom wait for each
 * other's, and no row is changed more often than that. (A combining tree: Yew, Tzeng and Lawrie,
 * "Distributing hot-spot addressing in large-scale multiprocessors", 1987.)
 */
#ifndef HAUL_WORKFLOW_H
#define HAUL_WORKFLOW_H

#include "postgres.h"

#include "job/outcome.h"

/* Ends of members in one call, and what they bring about. */
typedef struct WorkflowChange WorkflowChange;

extern WorkflowChange *workflow_change_open(Call *call);

/* A member ended. */
extern void workflow_job_ended(WorkflowChange *change, const Outcome *outcome);

/*
 * Does the next thing that follows: counts at a gate, releases or cancels a job, in the order of
 * (workflow, step), and steps grow along the edges. A cancelled job is noted as an outcome. False
 * when nothing is left.
 *
 * Locks are taken in this order: the rows of the jobs that the call is about, the locks of their
 * workflows, then gates and waiting jobs in the order above. So no two calls wait for each other in
 * a circle; two transactions with several calls each may, as with any rows.
 */
extern bool workflow_change_step(WorkflowChange *change);

extern void workflow_change_close(WorkflowChange *change);

#endif
