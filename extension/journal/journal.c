/*
 * journal.c: the two journals, the ledger and the leases: tables that are only appended to.
 *
 * Whose turn it is follows from a sequence, haul._entry_seq: each TURN numbers belong to one side.
 * A writer locks a table first and draws its entry number then; when that is the other side's, it
 * tries there. To end a turn, maintenance sets the sequence to the first number of the next one.
 * From then on nobody writes to the side but those who have it locked already; when they are gone,
 * all its rows are there.
 *
 * Nothing is ever written in front of what is folded: writers add to the last page, whatever room
 * there is before it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/owner.h"
#include "journal/journal.h"

#define TURN (INT64CONST(1) << 20)

/* For this long maintenance waits for those who are still writing to a side whose turn is over. */
#define PATIENCE_MS 100

/* Files smaller than this are not worth the change of the catalogs that it takes to empty them. */
#define MIN_BLOCKS_TO_EMPTY 128

/* columns of haul._folds */
enum FoldColumn
{
	FOLD_TABLE,
	FOLD_UPTO,
	FOLD_FILENODE,
	FOLD_FRONT,
};

static const Column fold_list[] = {
	[FOLD_TABLE] = {"name", TEXTOID},
	[FOLD_UPTO] = {"upto", INT8OID},
	[FOLD_FILENODE] = {"filenode", OIDOID},
	[FOLD_FRONT] = {"front", TIDOID},
	{NULL, InvalidOid},
};
static Columns fold_columns = COLUMNS(fold_list);

static Columns journal_columns[JOURNALS][JOURNAL_SIDES] = {
	[JOURNAL_LEDGER] = {COLUMNS(ledger_column_list), COLUMNS(ledger_column_list)},
	[JOURNAL_LEASES] = {COLUMNS(lease_column_list), COLUMNS(lease_column_list)},
};

/* What is folded of a table, by its last row in haul._folds. */
typedef struct Fold
{
	int64 upto;
	BlockNumber front;	/* no row that is not folded stands before this block */
	TransactionId xmin; /* who noted that */
} Fold;

static Oid
table_of(Journal journal, int side)
{
	return haul_catalog()->journals[journal][side];
}

static int
side_of(int64 entry)
{
	return entry / TURN % JOURNAL_SIDES;
}

static int64
draw_entry(void)
{
	return nextval_internal(haul_catalog()->entry_seq, false);
}

/* ---- writing ---- */

TableWriter *
journal_append(Journal journal, int64 *entry)
{
	static int side = 0; /* whose turn it was when we last looked */

	for (;;)
	{
		Oid table = table_of(journal, side);

		if (!ConditionalLockRelationOid(table, RowExclusiveLock))
		{
			/* it is being emptied, so it is the other's turn; or an operator has locked it */
			int turn = side_of(draw_entry());

			if (turn != side)
			{
				side = turn;
				continue;
			}
			LockRelationOid(table, RowExclusiveLock);
		}
		*entry = draw_entry();
		if (side_of(*entry) == side)
			return table_writer_open_at_end(table, &journal_columns[journal][side]);
		UnlockRelationOid(table, RowExclusiveLock);
		side = side_of(*entry);
	}
}

/* ---- what is folded ---- */

static Fold
find_fold(Relation table, Snapshot snapshot)
{
	Relation folds = table_open(haul_catalog()->folds, AccessShareLock);
	Relation index = haul_index_open(folds, HAUL_FOLDS_PKEY);
	TupleTableSlot *row = table_slot_create(folds, NULL);
	Fold fold = {0, 0, InvalidTransactionId};
	IndexScanDesc scan = haul_index_beginscan(folds, index, snapshot, 1);
	ScanKeyData key;

	columns_find(&fold_columns, folds);
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(RelationGetRelationName(table)));
	index_rescan(scan, &key, 1, NULL, 0);
	/* backwards: the last one holds */
	if (index_getnext_slot(scan, BackwardScanDirection, row))
	{
		bool isnull;

		slot_getallattrs(row);
		fold.upto = DatumGetInt64(column_value(&fold_columns, row, FOLD_UPTO));
		fold.xmin =
			DatumGetTransactionId(slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull));
		/* else it was emptied or rewritten since */
		if (DatumGetObjectId(column_value(&fold_columns, row, FOLD_FILENODE)) ==
			table->rd_rel->relfilenode)
			fold.front = ItemPointerGetBlockNumberNoCheck(
				(ItemPointer) DatumGetPointer(column_value(&fold_columns, row, FOLD_FRONT)));
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	index_close(index, AccessShareLock);
	table_close(folds, AccessShareLock);
	return fold;
}

/* ---- reading ---- */

static void
begin_side(JournalReader *reader, int side)
{
	Fold fold;
	ItemPointerData from;
	ItemPointerData to;

	reader->side = side;
	reader->table = table_open(table_of(reader->journal, side), AccessShareLock);
	columns_find(&journal_columns[reader->journal][side], reader->table);
	reader->columns = &journal_columns[reader->journal][side];
	fold = find_fold(reader->table, reader->snapshot);
	reader->upto = fold.upto;
	reader->row = table_slot_create(reader->table, NULL);
	ItemPointerSet(&from, fold.front, 0);
	ItemPointerSet(&to, InvalidBlockNumber, PG_UINT16_MAX);
	reader->scan = haul_beginscan_tidrange(reader->table, reader->snapshot, &from, &to);
}

static void
end_side(JournalReader *reader)
{
	table_endscan(reader->scan);
	ExecDropSingleTupleTableSlot(reader->row);
	table_close(reader->table, AccessShareLock);
	reader->table = NULL;
}

void
journal_reader_open(JournalReader *reader, Journal journal, Snapshot snapshot)
{
	reader->journal = journal;
	reader->snapshot = snapshot;
	begin_side(reader, 0);
}

TupleTableSlot *
journal_reader_next(JournalReader *reader)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (table_scan_getnextslot_tidrange(reader->scan, ForwardScanDirection, reader->row))
		{
			slot_getallattrs(reader->row);
			if (DatumGetInt64(column_value(reader->columns, reader->row, JOURNAL_ENTRY)) >=
				reader->upto)
				return reader->row;
		}
		else if (reader->side + 1 < JOURNAL_SIDES)
		{
			end_side(reader);
			begin_side(reader, reader->side + 1);
		}
		else
			return NULL;
	}
}

void
journal_reader_close(JournalReader *reader)
{
	end_side(reader);
}

/* ---- folding ---- */

/* Rows are added at the end, in the order of their numbers: it is enough to look at the last page.
 */
static bool
ends_beyond(Journal journal, int side, int64 entry, Snapshot snapshot)
{
	Relation table = table_open(table_of(journal, side), AccessShareLock);
	Columns *columns = &journal_columns[journal][side];
	BlockNumber blocks = RelationGetNumberOfBlocks(table);
	TupleTableSlot *row = table_slot_create(table, NULL);
	ItemPointerData from;
	ItemPointerData to;
	bool found = false;

	columns_find(columns, table);
	ItemPointerSet(&from, blocks == 0 ? 0 : blocks - 1, 0);
	ItemPointerSet(&to, InvalidBlockNumber, PG_UINT16_MAX);
	if (blocks > 0)
	{
		TableScanDesc scan = haul_beginscan_tidrange(table, snapshot, &from, &to);

		while (!found && table_scan_getnextslot_tidrange(scan, ForwardScanDirection, row))
		{
			slot_getallattrs(row);
			found = DatumGetInt64(column_value(columns, row, JOURNAL_ENTRY)) > entry;
		}
		table_endscan(scan);
	}
	ExecDropSingleTupleTableSlot(row);
	table_close(table, AccessShareLock);
	return found;
}

bool
journals_are_being_restored(void)
{
	/* in this order: what it sees has drawn its number before us */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 entry = draw_entry();
	bool found = false;

	for (Journal journal = 0; journal < JOURNALS; journal++)
		for (int side = 0; side < JOURNAL_SIDES; side++)
			found = found || ends_beyond(journal, side, entry, snapshot);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether nobody is writing to the table at this instant. Whoever locks it from now on draws a
 * later entry number than whoever had it locked before. */
static bool
is_quiet(Oid table)
{
	if (!ConditionalLockRelationOid(table, ShareLock))
		return false;
	UnlockRelationOid(table, ShareLock);
	return true;
}

/* Seals the tables of a side up to the entry number, which begins the turn of the other; false when
 * some are still written to. */
static bool
seal_side(JournalSeals seals, int side, int64 upto)
{
	bool sealed = true;

	for (Journal journal = 0; journal < JOURNALS; journal++)
		if (seals[journal][side] == 0)
		{
			if (is_quiet(table_of(journal, side)))
				seals[journal][side] = upto;
			else
				sealed = false;
		}
	return sealed;
}

static void
begin_turn(int64 first_entry)
{
	DirectFunctionCall2(setval_oid, ObjectIdGetDatum(haul_catalog()->entry_seq),
						Int64GetDatum(first_entry));
}

static bool lock_to_empty(Journal journal, int side);

/* Whether a table of the side will be emptied if the side stays at rest. */
static bool
is_waiting_to_be_emptied(int side)
{
	for (Journal journal = 0; journal < JOURNALS; journal++)
		if (lock_to_empty(journal, side))
		{
			UnlockRelationOid(table_of(journal, side), AccessExclusiveLock);
			return true;
		}
	return false;
}

void
journal_seal(JournalSeals seals)
{
	int64 entry = draw_entry();
	int64 turn = entry - entry % TURN;
	int current = side_of(entry);
	int other = 1 - current;
	bool other_sealed;

	memset(seals, 0, sizeof(JournalSeals));
	other_sealed = seal_side(seals, other, turn);
	if (is_waiting_to_be_emptied(other))
		return;

	begin_turn(turn + TURN);
	for (int ms = 0; !seal_side(seals, current, turn + TURN) && ms < PATIENCE_MS; ms++)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	/* what is written beside a transaction that stays open cannot be folded before that ends */
	if (!other_sealed)
		begin_turn(turn + 2 * TURN);
}

void
journal_mark_folded(Journal journal, int side, int64 upto, BlockNumber front)
{
	Relation table = table_open(table_of(journal, side), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Oid types[] = {TEXTOID, INT8OID, INT8OID, OIDOID, TIDOID};
	ItemPointerData tid = {0};
	Datum values[] = {
		CStringGetTextDatum(RelationGetRelationName(table)),
		Int64GetDatum(find_fold(table, snapshot).upto),
		Int64GetDatum(upto),
		ObjectIdGetDatum(table->rd_rel->relfilenode),
		PointerGetDatum(&tid),
	};

	ItemPointerSet(&tid, front, 0);
	haul_run_as_owner(
		"WITH outdated AS (DELETE FROM haul._folds WHERE name = $1 AND upto = $2) "
		"INSERT INTO haul._folds (name, upto, filenode, front) VALUES ($1, $3, $4, $5)",
		lengthof(values), types, values, NULL);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

/* ---- emptying ---- */

static bool
has_unfolded(Journal journal, int side)
{
	JournalReader reader = {.journal = journal, .snapshot = RegisterSnapshot(GetLatestSnapshot())};
	bool found;

	begin_side(&reader, side);
	found = journal_reader_next(&reader) != NULL && reader.side == side;
	journal_reader_close(&reader);
	UnregisterSnapshot(reader.snapshot);
	return found;
}

/*
 * Whether the table is large and folded, and every snapshot there is sees that it is. For TRUNCATE
 * takes rows away from snapshots that were taken before it, too.
 */
static bool
is_spent(Relation table)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Fold fold = find_fold(table, snapshot);

	UnregisterSnapshot(snapshot);
	return fold.upto > 0 && RelationGetNumberOfBlocks(table) >= MIN_BLOCKS_TO_EMPTY &&
		   TransactionIdPrecedes(fold.xmin, GetOldestNonRemovableTransactionId(table)) &&
		   table->rd_refcnt == 1; /* nor is it read by the statement that called us */
}

/* Locks a table that can be emptied; false, without a lock, if there are rows that are not folded,
 * or somebody who reads. */
static bool
lock_to_empty(Journal journal, int side)
{
	Relation table = table_open(table_of(journal, side), AccessShareLock);
	bool spent = is_spent(table);

	table_close(table, AccessShareLock);
	if (!spent || !ConditionalLockRelationOid(table_of(journal, side), AccessExclusiveLock))
		return false;
	if (!has_unfolded(journal, side))
		return true;
	UnlockRelationOid(table_of(journal, side), AccessExclusiveLock);
	return false;
}

PG_FUNCTION_INFO_V1(haul_empty_journals);

Datum
haul_empty_journals(PG_FUNCTION_ARGS)
{
	static const char *const truncate[JOURNALS][JOURNAL_SIDES] = {
		[JOURNAL_LEDGER] = {"TRUNCATE haul._ledger_0", "TRUNCATE haul._ledger_1"},
		[JOURNAL_LEASES] = {"TRUNCATE haul._leases_0", "TRUNCATE haul._leases_1"},
	};
	int side = 1 - side_of(draw_entry());
	int emptied = 0;

	for (Journal journal = 0; journal < JOURNALS; journal++)
		if (lock_to_empty(journal, side))
		{
			haul_run_as_owner(truncate[journal][side], 0, NULL, NULL, NULL);
			emptied++;
		}
	PG_RETURN_INT32(emptied);
}
