/*
 * compat.h: the only place that tests PG_VERSION_NUM.
 *
 * Each wrapper has the newest signature and adapts it to older servers.
 */
#ifndef HAUL_COMPAT_H
#define HAUL_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "tcop/pquery.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "pg_haul needs PostgreSQL 15 or later"
#endif

/* 16: the macros for variable-length values left postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16: an update tells which indexes need new entries, not only whether any does. */
#if PG_VERSION_NUM < 160000
typedef bool TU_UpdateIndexes;
#define TU_None false
#define haul_only_summarizing(indexes) false
#else
#define haul_only_summarizing(indexes) ((indexes) == TU_Summarizing)
#endif

/* 18: index_beginscan takes a place for instrumentation. 19: and options. */
static inline IndexScanDesc
haul_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/* 19: scans of a range of TIDs take options. */
static inline TableScanDesc
haul_beginscan_tidrange(Relation rel, Snapshot snapshot, ItemPointer first, ItemPointer last)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_tidrange(rel, snapshot, first, last, SO_NONE);
#else
	return table_beginscan_tidrange(rel, snapshot, first, last);
#endif
}

/*
 * An update that does not wait for a transaction that has the row locked, but answers
 * TM_BeingModified, is in the interface of table access methods; a server built with assertions
 * insists that the caller of heap_update waits.
 */
#ifdef USE_ASSERT_CHECKING
#define HAUL_UPDATE_CAN_SKIP false
#else
#define HAUL_UPDATE_CAN_SKIP true
#endif

/* 19: updates and deletions take options. A deletion waits for other transactions. */
static inline TM_Result
haul_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot, bool wait,
				  TM_FailureData *failure, LockTupleMode *mode, TU_UpdateIndexes *indexes)
{
#if PG_VERSION_NUM >= 190000
	return table_tuple_update(rel, tid, slot, GetCurrentCommandId(true), 0, snapshot,
							  InvalidSnapshot, wait, failure, mode, indexes);
#else
	return table_tuple_update(rel, tid, slot, GetCurrentCommandId(true), snapshot, InvalidSnapshot,
							  wait, failure, mode, indexes);
#endif
}

static inline TM_Result
haul_tuple_delete(Relation rel, ItemPointer tid, Snapshot snapshot, TM_FailureData *failure)
{
#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(rel, tid, GetCurrentCommandId(true), 0, snapshot, InvalidSnapshot,
							  true, failure);
#else
	return table_tuple_delete(rel, tid, GetCurrentCommandId(true), snapshot, InvalidSnapshot, true,
							  failure, false);
#endif
}

/* 16: ExecInsertIndexTuples can be told to serve summarizing indexes only. 19: by flags. */
static inline List *
haul_insert_index_tuples(ResultRelInfo *relation, TupleTableSlot *slot, EState *estate, bool update,
						 bool only_summarizing)
{
#if PG_VERSION_NUM >= 190000
	return ExecInsertIndexTuples(relation, estate,
								 (update ? EIIT_IS_UPDATE : 0) |
									 (only_summarizing ? EIIT_ONLY_SUMMARIZING : 0),
								 slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	return ExecInsertIndexTuples(relation, slot, estate, update, false, NULL, NIL,
								 only_summarizing);
#else
	return ExecInsertIndexTuples(relation, slot, estate, update, false, NULL, NIL);
#endif
}

/* 16: permissions, and with them the updated columns, moved out of the range table entry.
 * 18: ExecInitRangeTable wants to know which relations were not pruned. */
static inline void
haul_init_range_table(EState *estate, Relation rel, Bitmapset *updated)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	{
		List *permissions = NIL;

		addRTEPermissionInfo(&permissions, rte)->updatedCols = updated;
#if PG_VERSION_NUM >= 180000
		ExecInitRangeTable(estate, list_make1(rte), permissions, bms_make_singleton(1));
#else
		ExecInitRangeTable(estate, list_make1(rte), permissions);
#endif
	}
#else
	rte->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* 16: EvalPlanQualInit takes the result relations. */
static inline void
haul_eval_plan_qual_init(EPQState *epq, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL);
#else
	EvalPlanQualInit(epq, estate, NULL, NIL, -1);
#endif
}

/* 17: backends have numbers of another kind. */
#if PG_VERSION_NUM >= 170000
#define haul_my_backend() MyProcNumber
#else
#define haul_my_backend() MyBackendId
#endif

/* 17: extensions may name what their processes wait for. *event is a place to remember it, 0 at
 * first. */
static inline uint32
haul_wait_event(uint32 *event, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*event == 0)
		*event = WaitEventExtensionNew(name);
	return *event;
#else
	return PG_WAIT_EXTENSION;
#endif
}

/*
 * libpq/libpq.h cannot be included: on a server built with GSSAPI it needs the headers of that. The
 * set of what a backend waits for when it waits for its client, and whether that is still there:
 */
extern PGDLLIMPORT WaitEventSet *FeBeWaitSet;
#define FeBeWaitSetSocketPos 0
extern bool pq_check_connection(void);

/* 16: an index that only summarizes does not stand in the way of a HOT update; here it does. */
static inline Bitmapset *
haul_indexed_columns(Relation rel)
{
#if PG_VERSION_NUM >= 160000
	return bms_union(RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_HOT_BLOCKING),
					 RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_SUMMARIZED));
#else
	return RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_ALL);
#endif
}

/* 18: PortalRun is not told any more that it is called once. */
static inline bool
haul_portal_run(Portal portal, long count, bool top_level, DestReceiver *receiver,
				DestReceiver *others, QueryCompletion *completion)
{
#if PG_VERSION_NUM >= 180000
	return PortalRun(portal, count, top_level, receiver, others, completion);
#else
	return PortalRun(portal, count, top_level, true, receiver, others, completion);
#endif
}

/* 19: a hash table in shared memory has one size. */
static inline HTAB *
haul_shmem_hash(const char *name, long size, HASHCTL *info, int flags)
{
#if PG_VERSION_NUM >= 190000
	return ShmemInitHash(name, size, info, flags);
#else
	return ShmemInitHash(name, size, size, info, flags);
#endif
}

/* The only table that a statement changes, or InvalidOid. 19: they are a set. */
static inline Oid
haul_result_relation(const PlannedStmt *statement)
{
	int index;

#if PG_VERSION_NUM >= 190000
	if (!bms_get_singleton_member(statement->resultRelationRelids, &index))
		return InvalidOid;
#else
	if (list_length(statement->resultRelations) != 1)
		return InvalidOid;
	index = linitial_int(statement->resultRelations);
#endif
	return rt_fetch(index, statement->rtable)->relid;
}

/* 18: modules may state their name and version. */
#if PG_VERSION_NUM >= 180000
#define HAUL_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "pg_haul", .version = HAUL_VERSION)
#else
#define HAUL_MODULE_MAGIC PG_MODULE_MAGIC
#endif

#endif
