/*
 * workflow.c: jobs that wait for others.
 *
 * Rows are read as they are now, whatever the isolation level of the transaction: a count at a gate
 * that a snapshot hides would be lost.
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "fmgr.h"
#include "lib/pairingheap.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/row_writer.h"
#include "base/table_writer.h"
#include "job/transition.h"
#include "rows/job.h"
#include "rows/workflow_rows.h"
#include "workflow/workflow.h"

/* columns of haul._gates */
enum GateColumn
{
	GATE_ID,
	GATE_MISSING,
	GATE_NEXT_GATE,
	GATE_WORKFLOW_ID,
	GATE_STEP,
};

static const Column gate_list[] = {
	[GATE_ID] = {"id", INT8OID},
	[GATE_MISSING] = {"missing", INT4OID},
	[GATE_NEXT_GATE] = {"next_gate", INT8OID},
	[GATE_WORKFLOW_ID] = {"workflow_id", INT8OID},
	[GATE_STEP] = {"step", INT4OID},
	{NULL, InvalidOid},
};
static Columns gate_columns = COLUMNS(gate_list);

/* columns of haul._workflow_ends */
enum EndColumn
{
	END_WORKFLOW_ID,
	END_STEP,
	END_JOB_ID,
	END_STATE,
	END_ATTEMPT,
	END_STARTED_AT,
	END_FINISHED_AT,
	END_RESULT,
	END_ERROR,
	END_JOB,
};

static const Column end_list[] = {
	[END_WORKFLOW_ID] = {"workflow_id", INT8OID},
	[END_STEP] = {"step", INT4OID},
	[END_JOB_ID] = {"job_id", INT8OID},
	[END_STATE] = {"state", TEXTOID},
	[END_ATTEMPT] = {"attempt", INT4OID},
	[END_STARTED_AT] = {"started_at", TIMESTAMPTZOID},
	[END_FINISHED_AT] = {"finished_at", TIMESTAMPTZOID},
	[END_RESULT] = {"result", JSONBOID},
	[END_ERROR] = {"error", TEXTOID},
	[END_JOB] = {"job", JSONBOID},
	{NULL, InvalidOid},
};
static Columns end_columns = COLUMNS(end_list);

/* Something to be done about a member, in the order of workflows and steps. */
typedef struct Todo
{
	pairingheap_node node;
	int64 workflow;
	int step;
	int64 gate;			/* to count at; 0: the job's own turn has come */
	int count;			/* of edges, or lower gates */
	const char *cancel; /* why the job is cancelled; NULL: it is released */
} Todo;

struct WorkflowChange
{
	Call *call;
	MemoryContext scratch; /* for one step */
	pairingheap *todo;	   /* of what is in the context of the call */
	TableWriter *ends;	   /* NULL: not needed yet */
	uint64 locked;		   /* a bit for each lock held */
};

/* ---- what is to be done ---- */

static void
share_workflow(WorkflowChange *change, int64 workflow)
{
	uint64 bit = UINT64CONST(1) << (workflow % WORKFLOW_LOCKS);

	if ((change->locked & bit) != 0)
		return;
	workflow_lock(workflow, ShareLock);
	change->locked |= bit;
	/* what a retry did meanwhile is to be seen */
	job_store_renew(change->call->store);
}

static int
compare_todos(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Todo *x = pairingheap_const_container(Todo, node, a);
	const Todo *y = pairingheap_const_container(Todo, node, b);

	/* the heap gives the greatest first */
	if (x->workflow != y->workflow)
		return x->workflow < y->workflow ? 1 : -1;
	if (x->step != y->step)
		return x->step < y->step ? 1 : -1;
	/* gates lead to the job, lower ones to higher ones, which were made later */
	if ((x->gate == 0) != (y->gate == 0))
		return x->gate != 0 ? 1 : -1;
	return x->gate < y->gate ? 1 : x->gate > y->gate ? -1 : 0;
}

static void
add_todo(WorkflowChange *change, int64 workflow, int step, int64 gate, const char *cancel)
{
	Todo *todo = MemoryContextAllocZero(MemoryContextGetParent(change->scratch), sizeof(Todo));

	todo->workflow = workflow;
	todo->step = step;
	todo->gate = gate;
	todo->count = 1;
	todo->cancel = cancel;
	pairingheap_add(change->todo, &todo->node);
}

static Todo *
take_todo(WorkflowChange *change)
{
	Todo *todo = pairingheap_container(Todo, node, pairingheap_remove_first(change->todo));

	/* counts at the same gate are one */
	while (todo->gate != 0 && !pairingheap_is_empty(change->todo))
	{
		Todo *other = pairingheap_container(Todo, node, pairingheap_first(change->todo));

		if (other->gate != todo->gate)
			break;
		todo->count += other->count;
		pairingheap_remove_first(change->todo);
		pfree(other);
	}
	return todo;
}

WorkflowChange *
workflow_change_open(Call *call)
{
	WorkflowChange *change = palloc0(sizeof(WorkflowChange));

	change->call = call;
	change->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "pg_haul workflow", ALLOCSET_DEFAULT_SIZES);
	change->todo = pairingheap_allocate(compare_todos, NULL);
	return change;
}

void
workflow_change_close(WorkflowChange *change)
{
	if (change->ends != NULL)
		table_writer_close(change->ends);
	pairingheap_free(change->todo);
	MemoryContextDelete(change->scratch);
	pfree(change);
}

/* ---- the end of a member ---- */

static void
member_record_end(WorkflowChange *change, const WorkflowMember *member, const Outcome *outcome)
{
	if (change->ends == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(MemoryContextGetParent(change->scratch));

		change->ends = table_writer_open(haul_catalog()->workflow_ends, &end_columns);
		MemoryContextSwitchTo(caller);
	}
	table_writer_begin_row(change->ends);
	table_writer_set(change->ends, END_WORKFLOW_ID, Int64GetDatum(member->workflow));
	table_writer_set(change->ends, END_STEP, Int32GetDatum(member->step));
	table_writer_set(change->ends, END_JOB_ID, Int64GetDatum(outcome->id));
	table_writer_set(change->ends, END_STATE, CStringGetTextDatum(job_state_word(outcome->state)));
	table_writer_set(change->ends, END_ATTEMPT, Int32GetDatum(outcome->attempt));
	if (outcome->started_at != 0)
		table_writer_set(change->ends, END_STARTED_AT, TimestampTzGetDatum(outcome->started_at));
	table_writer_set(change->ends, END_FINISHED_AT, TimestampTzGetDatum(change->call->now));
	if (outcome->result != (Datum) 0)
		table_writer_set(change->ends, END_RESULT, outcome->result);
	if (outcome->error != (Datum) 0)
		table_writer_set(change->ends, END_ERROR, outcome->error);
	if (outcome->job != (Datum) 0)
		table_writer_set(change->ends, END_JOB, outcome->job);
	table_writer_add(change->ends);
}

/* The text stays as long as the call: jobs may be cancelled for it. */
static const char *
reason_to_cancel(WorkflowChange *change, const WorkflowMember *member, const Outcome *outcome)
{
	const char *was = outcome->state == JOB_FAILED ? "" : "was ";
	char *reason = psprintf("\"%s\" (job " INT64_FORMAT ") %s%s", member->name, outcome->id, was,
							job_state_word(outcome->state));

	return MemoryContextStrdup(MemoryContextGetParent(change->scratch), reason);
}

void
workflow_job_ended(WorkflowChange *change, const Outcome *outcome)
{
	MemoryContext caller = MemoryContextSwitchTo(change->scratch);
	WorkflowMember *member;
	const char *reason = NULL;

	share_workflow(change, outcome->workflow);
	member = workflow_member_of_job(outcome->id);
	/* one that was put into the table by hand has none */
	if (member != NULL)
		member_record_end(change, member, outcome);
	for (int i = 0; member != NULL && i < member->nnext; i++)
	{
		int step = DatumGetInt32(member->next[i]);
		const char *if_failed = TextDatumGetCString(member->if_failed[i]);

		if (outcome_is_success(outcome) || strcmp(if_failed, "run") == 0)
			add_todo(change, member->workflow, step, DatumGetInt64(member->gates[i]), NULL);
		else if (strcmp(if_failed, "cancel") == 0)
		{
			if (reason == NULL)
				reason = reason_to_cancel(change, member, outcome);
			add_todo(change, member->workflow, step, 0, reason);
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(change->scratch);
}

/* ---- what follows ---- */

static void
count_at_gate(WorkflowChange *change, const Todo *todo)
{
	Relation gates = table_open(haul_catalog()->gates, RowExclusiveLock);
	TupleTableSlot *row = table_slot_create(gates, NULL);
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(todo->gate));
	if (row_lock(gates, HAUL_GATES_PKEY, &gate_columns, &key, 1, row))
	{
		int missing;
		int64 next;

		slot_getallattrs(row);
		missing = DatumGetInt32(column_value(&gate_columns, row, GATE_MISSING)) - todo->count;
		next = DatumGetInt64(column_value(&gate_columns, row, GATE_NEXT_GATE));
		row_update(gates, row, &gate_columns, GATE_MISSING, Int32GetDatum(missing));
		if (missing == 0)
			add_todo(change, todo->workflow, todo->step, next, NULL);
	}
	ExecDropSingleTupleTableSlot(row);
	table_close(gates, NoLock);
}

/* The job of a member, locked, while it waits; NULL when it does not. */
static TupleTableSlot *
lock_waiting(Call *call, int64 id)
{
	TupleTableSlot *job;

	do
	{
		job = job_store_find(call->store, id);
		if (job == NULL || !job_is(job, JOB_WAITING))
			return NULL;
	} while (job_store_lock(call->store, job, LockWaitBlock) != JOB_LOCKED);
	return job;
}

bool
workflow_change_step(WorkflowChange *change)
{
	MemoryContext caller = CurrentMemoryContext;
	Call *call = change->call;
	WorkflowMember *member;
	TupleTableSlot *job;
	Todo *todo;

	if (pairingheap_is_empty(change->todo))
		return false;
	todo = take_todo(change);
	MemoryContextSwitchTo(change->scratch);
	if (todo->gate != 0)
		count_at_gate(change, todo);
	else if ((member = workflow_member_at_step(todo->workflow, todo->step)) != NULL)
	{
		call_next_job(call);
		job = lock_waiting(call, member->job);
		if (job == NULL)
			;
		else if (todo->cancel != NULL)
			transition_drop(call, job, JOB_CANCELLED, CStringGetTextDatum(todo->cancel));
		else if (workflow_is_cancelled(job))
			transition_drop(call, job, JOB_CANCELLED, CStringGetTextDatum(WORKFLOW_CANCELLED));
		else
			transition_release(call, job, member->run_at);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(change->scratch);
	pfree(todo);
	return true;
}
