/*
 * claim.c: the numbers under which jobs are handed out.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "rows/claim.h"

#define STEP 256 /* the increment of the ceiling */

/* What this session knows; both only grow while the server lives. */
static Oid known_of = InvalidOid; /* the sequence; another one after DROP and CREATE EXTENSION */
static int64 base;				  /* the first number of this life */
static int64 ceiling;			  /* no number above is handed out */

/* The last value of a sequence, however it came there, but not before it is flushed; 0 when there
 * is none. */
static int64
last_value(Oid sequence)
{
	Relation relation = relation_open(sequence, AccessShareLock);
	Buffer buffer = ReadBuffer(relation, 0);
	Page page = BufferGetPage(buffer);
	HeapTupleData tuple;
	Form_pg_sequence_data data;
	int64 value;
	XLogRecPtr written;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) GETSTRUCT(&tuple);
	value = data->is_called ? data->last_value : 0;
	written = PageGetLSN(page);
	UnlockReleaseBuffer(buffer);
	if (RelationNeedsWAL(relation))
		XLogFlush(written);
	relation_close(relation, AccessShareLock);
	return value;
}

static int64
raise_ceiling(void)
{
	int64 raised = nextval_internal(haul_catalog()->claim_ceiling, false);

	(void) last_value(haul_catalog()->claim_ceiling);
	return raised;
}

/* The first number of this life of the server: above the last ceiling. */
static int64
begin_life(void)
{
	int64 first = raise_ceiling() - STEP + 1;
	Oid type = INT8OID;
	Datum value = Int64GetDatum(first);

	haul_run_as_owner("SELECT pg_catalog.setval('haul._claim_base'::pg_catalog.regclass, $1)", 1,
					  &type, &value, NULL);
	return first;
}

/* Of sessions that find no base at once, one begins; what it sets can be seen before it commits. */
static void
learn(void)
{
	Oid sequence = haul_catalog()->claim_base;

	if (known_of == sequence)
		return;
	base = last_value(sequence);
	if (base == 0)
	{
		LockRelationOid(sequence, ShareUpdateExclusiveLock);
		base = last_value(sequence);
		if (base == 0)
			base = begin_life();
		UnlockRelationOid(sequence, ShareUpdateExclusiveLock);
	}
	ceiling = last_value(haul_catalog()->claim_ceiling);
	known_of = sequence;
}

int32
claim_after(int32 claim)
{
	int64 next;

	learn();
	next = Max((int64) claim + 1, base);
	if (next > ceiling)
		ceiling = last_value(haul_catalog()->claim_ceiling); /* others may have raised it */
	while (next > ceiling)
		ceiling = raise_ceiling();
	return next;
}

bool
claim_is_from_before(int32 claim)
{
	learn();
	return claim < base;
}
