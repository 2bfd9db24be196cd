/*
 * workflow_rows.c: rows of haul.workflows and haul.workflow_jobs, and the lock of a workflow.
 *
 * Rows are read as they are now, whatever the isolation level of the transaction.
 */
#include "postgres.h"

#include "access/skey.h"
#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/row_reader.h"
#include "rows/job.h"
#include "rows/workflow_rows.h"

/* columns of haul.workflow_jobs */
enum MemberColumn
{
	MEMBER_WORKFLOW_ID,
	MEMBER_STEP,
	MEMBER_NAME,
	MEMBER_KIND,
	MEMBER_JOB_ID,
	MEMBER_RUN_AT,
	MEMBER_AFTER,
	MEMBER_NEXT,
	MEMBER_GATES,
	MEMBER_IF_FAILED,
};

static const Column member_list[] = {
	[MEMBER_WORKFLOW_ID] = {"workflow_id", INT8OID},
	[MEMBER_STEP] = {"step", INT4OID},
	[MEMBER_NAME] = {"name", TEXTOID},
	[MEMBER_KIND] = {"kind", TEXTOID},
	[MEMBER_JOB_ID] = {"job_id", INT8OID},
	[MEMBER_RUN_AT] = {"run_at", TIMESTAMPTZOID},
	[MEMBER_AFTER] = {"after", INT4ARRAYOID},
	[MEMBER_NEXT] = {"next", INT4ARRAYOID},
	[MEMBER_GATES] = {"gates", INT8ARRAYOID},
	[MEMBER_IF_FAILED] = {"if_failed", TEXTARRAYOID},
	{NULL, InvalidOid},
};
static Columns member_columns = COLUMNS(member_list);

/* columns of haul.workflows */
enum WorkflowColumn
{
	WORKFLOW_ID,
	WORKFLOW_NAME,
	WORKFLOW_CREATED_AT,
	WORKFLOW_CREATED_BY,
	WORKFLOW_CANCELLED_AT,
};

static const Column workflow_list[] = {
	[WORKFLOW_ID] = {"id", INT8OID},
	[WORKFLOW_NAME] = {"name", TEXTOID},
	[WORKFLOW_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[WORKFLOW_CREATED_BY] = {"created_by", NAMEOID},
	[WORKFLOW_CANCELLED_AT] = {"cancelled_at", TIMESTAMPTZOID},
	{NULL, InvalidOid},
};
static Columns workflow_columns = COLUMNS(workflow_list);

/* ---- the lock ---- */

void
workflow_lock(int64 workflow, LOCKMODE mode)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, haul_catalog()->workflows,
					   (uint32) (workflow % WORKFLOW_LOCKS), 1);
	(void) LockAcquire(&tag, mode, false, false);
}

PG_FUNCTION_INFO_V1(haul_lock_workflow);

/* No member's end is dealt with until the transaction is over. */
Datum
haul_lock_workflow(PG_FUNCTION_ARGS)
{
	workflow_lock(PG_GETARG_INT64(0), ExclusiveLock);
	PG_RETURN_VOID();
}

/* ---- reading ---- */

static int
read_array(Datum value, Oid type, Datum **elements)
{
	int16 length;
	bool byval;
	char align;
	int count;

	get_typlenbyvalalign(type, &length, &byval, &align);
	/* a copy: the row goes away with its reader */
	deconstruct_array(DatumGetArrayTypePCopy(value), type, length, byval, align, elements, NULL,
					  &count);
	return count;
}

static WorkflowMember *
read_member(TupleTableSlot *row)
{
	WorkflowMember *member = palloc(sizeof(WorkflowMember));

	member->workflow = DatumGetInt64(column_value(&member_columns, row, MEMBER_WORKFLOW_ID));
	member->step = DatumGetInt32(column_value(&member_columns, row, MEMBER_STEP));
	member->name = TextDatumGetCString(column_value(&member_columns, row, MEMBER_NAME));
	member->job = DatumGetInt64(column_value(&member_columns, row, MEMBER_JOB_ID));
	member->run_at = DatumGetTimestampTz(column_value(&member_columns, row, MEMBER_RUN_AT));
	member->nnext =
		read_array(column_value(&member_columns, row, MEMBER_NEXT), INT4OID, &member->next);
	(void) read_array(column_value(&member_columns, row, MEMBER_GATES), INT8OID, &member->gates);
	(void) read_array(column_value(&member_columns, row, MEMBER_IF_FAILED), TEXTOID,
					  &member->if_failed);
	return member;
}

static WorkflowMember *
find_member(HaulIndex index, ScanKey keys, int nkeys)
{
	RowReader reader;
	TupleTableSlot *row;
	WorkflowMember *member = NULL;

	row_reader_open(&reader, haul_catalog()->workflow_jobs, index, &member_columns, AccessShareLock,
					keys, nkeys);
	row = row_reader_next(&reader);
	if (row != NULL)
		member = read_member(row);
	row_reader_close(&reader);
	return member;
}

WorkflowMember *
workflow_member_of_job(int64 job)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	return find_member(HAUL_WORKFLOW_JOBS_JOB, &key, 1);
}

WorkflowMember *
workflow_member_at_step(int64 workflow, int step)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(workflow));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(step));
	return find_member(HAUL_WORKFLOW_JOBS_PKEY, keys, 2);
}

bool
workflow_knows(int64 job)
{
	return workflow_member_of_job(job) != NULL;
}

bool
workflow_is_cancelled(TupleTableSlot *job)
{
	RowReader reader;
	ScanKeyData key;
	TupleTableSlot *row;
	bool cancelled;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, job_value(job, JOB_WORKFLOW_ID));
	row_reader_open(&reader, haul_catalog()->workflows, HAUL_WORKFLOWS_PKEY, &workflow_columns,
					AccessShareLock, &key, 1);
	row = row_reader_next(&reader);
	cancelled = row != NULL && !column_is_null(&workflow_columns, row, WORKFLOW_CANCELLED_AT);
	row_reader_close(&reader);
	return cancelled;
}

bool
workflow_was_cancelled(TupleTableSlot *job)
{
	workflow_lock(DatumGetInt64(job_value(job, JOB_WORKFLOW_ID)), ShareLock);
	return workflow_is_cancelled(job);
}
