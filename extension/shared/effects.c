/*
 * effects.c: what the current transaction does to shared memory when it ends, and whom it wakes.
 *
 * The callbacks after the end allocate nothing, raise no errors and look up
 * nothing in the catalogs: what they need stands in the notes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "commands/dbcommands.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/catalog.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "rows/job.h"
#include "shared/awaiting.h"
#include "shared/database.h"
#include "shared/effects.h"
#include "shared/waiter.h"

#define FEW_NOTES 8 /* searched one by one */

typedef struct NoteKey
{
	LaneTag tag;
	SubTransactionId
		subtransaction; /* still open; those that ended well have become their parent */
} NoteKey;

#define NOTE_SHARES 6

/* Jobs for one audience. */
typedef struct Share
{
	Audience audience;
	int64 jobs;
} Share;

/* What the transaction did in a lane. */
typedef struct Note
{
	NoteKey key;
	LaneKey lowest;			   /* of the jobs made ready */
	Share shares[NOTE_SHARES]; /* of those that are due; when there are more, the last is for all
								  others */
	int nshares;
	TimestampTz later; /* when the first that is not due falls due */
	int64 claimed;
} Note;

/* A worker that was deleted. */
typedef struct Gone
{
	int64 worker;
	SubTransactionId subtransaction;
} Gone;

/* Of the current transaction, in TopTransactionContext. What inner subtransactions add stands
 * behind what the outer ones have. */
static List *notes = NIL;	 /* of Note */
static HTAB *index_of_notes; /* NULL while they are few */
static Note *last_note;		 /* the one used last */
static List *scans = NIL;	 /* of LaneScan */
static List *gone = NIL;	 /* of Gone */
static bool announce;
static bool job_ended;
static List *mailboxes = NIL; /* of char *: who is to be told of replies */
static bool cron_changed;

/* ---- ends of transactions ---- */

static void
forget_everything(void)
{
	notes = NIL;
	index_of_notes = NULL;
	last_note = NULL;
	scans = NIL;
	gone = NIL;
	announce = false;
	job_ended = false;
	mailboxes = NIL;
	cron_changed = false;
}

static bool
made_ready(const Note *note)
{
	return lane_key_compare(note->lowest, LANE_HIGHEST) < 0;
}

static bool
is_lane(const Note *note)
{
	return note->key.tag.length > 0;
}

/* Whether there is no background worker to leave the NOTIFY to, now that somebody may need it. */
static bool
nobody_else_notifies(void)
{
	return !database_is_served() || (!database_worker_runs() && waiter_any());
}

/* Before jobs become visible: gives their lanes entries, since callbacks only find what is there.
 * Of lanes for which the background worker will not do it, notifies everybody, once per queue. */
static void
prepare_to_tell(void)
{
	bool others = !nobody_else_notifies();
	ListCell *cell;

	foreach (cell, notes)
	{
		Note *note = lfirst(cell);

		if (made_ready(note) && is_lane(note) && !(others && lane_ensure(&note->key.tag)))
		{
			char *queue = pnstrdup(note->key.tag.queue, note->key.tag.length);

			Async_Notify("haul", queue);
			pfree(queue);
		}
	}
}

static void
plan(const Note *note)
{
	LaneDue due = lane_due_at(&note->key.tag, note->later);

	if (due == LANE_DUE_LATER ||
		(due == LANE_DUE_LOST && !database_plan(MyDatabaseId, DATABASE_DUE, note->later)))
		return;
	if (database_worker_runs() || waiter_any())
		database_wake_worker(MyDatabaseId);
}

/* Wakes those who may take jobs that the transaction made ready. */
static void
wake_for_shares(const Note *note)
{
	Work work = {.lane = note->key.tag, .from = note->lowest};

	for (int i = 0; i < note->nshares; i++)
	{
		work.audience = note->shares[i].audience;
		work.jobs = note->shares[i].jobs;
		/* those who LISTEN without ever having checked out hear of what nobody was called for */
		if (waiter_wake(&work) == 0 && lane_is_unheard(&note->key.tag))
			database_wake_worker(MyDatabaseId);
	}
}

static void
apply(void)
{
	ListCell *cell;

	foreach (cell, scans)
		lane_raise(lfirst(cell));
	foreach (cell, notes)
	{
		Note *note = lfirst(cell);

		if (!made_ready(note))
			continue;
		if (!lane_lower(&note->key.tag, note->lowest))
			database_wake_worker(MyDatabaseId);
		if (!is_lane(note))
			continue;
		if (!TIMESTAMP_IS_NOEND(note->later))
			plan(note);
		wake_for_shares(note);
	}
	foreach (cell, gone)
		waiter_worker_gone(((Gone *) lfirst(cell))->worker);
	if (announce)
		database_announce();
	if (job_ended)
		awaiting_wake();
	if (cron_changed)
		database_cron_changed();
}

static void
wake_for_claims(const Note *note)
{
	Work work = {.lane = note->key.tag, .from = LANE_LOWEST, .jobs = note->claimed};

	if (note->claimed > 0)
		(void) waiter_wake(&work);
}

/* COMMIT PREPARED runs no callback of ours: what it makes ready is held, and the
 * background worker sees when the transaction is gone. */
static void
hold(void)
{
	int count = 0;
	LaneTag *tags = palloc(list_length(notes) * sizeof(LaneTag));
	LaneKey *keys = palloc(list_length(notes) * sizeof(LaneKey));
	ListCell *cell;

	foreach (cell, notes)
	{
		Note *note = lfirst(cell);

		if (!made_ready(note) && note->claimed == 0)
			continue;
		if (made_ready(note) && is_lane(note) && database_is_served())
			(void) lane_ensure(&note->key.tag);
		tags[count] = note->key.tag;
		keys[count++] = note->lowest;
	}
	if (count > 0)
		lane_hold(GetTopTransactionId(), tags, keys, count);
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	ListCell *cell;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			/* not earlier: a transaction that has notified cannot be prepared */
			foreach (cell, mailboxes)
				Async_Notify("haul_reply", lfirst(cell));
			prepare_to_tell();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (haul_is_preloaded())
				hold();
			/* of what is prepared, maintenance takes notice */
			if (cron_changed)
				database_note_activity();
			break;
		case XACT_EVENT_COMMIT:
			if (haul_is_preloaded())
				apply();
			forget_everything();
			break;
		case XACT_EVENT_ABORT:
			if (haul_is_preloaded())
				foreach (cell, notes)
					wake_for_claims(lfirst(cell));
			forget_everything();
			break;
		case XACT_EVENT_PREPARE:
			if (haul_is_preloaded() && notes != NIL)
				database_wake_worker(MyDatabaseId);
			forget_everything();
			break;
		default:
			break;
	}
}

/* ---- notes ---- */

typedef struct IndexEntry
{
	NoteKey key;
	Note *note;
} IndexEntry;

static void
add_to_index(Note *note)
{
	IndexEntry *entry = hash_search(index_of_notes, &note->key, HASH_ENTER, NULL);

	entry->note = note;
}

static Note *
find_note(const NoteKey *key)
{
	IndexEntry *entry;
	ListCell *cell;

	if (index_of_notes != NULL)
	{
		entry = hash_search(index_of_notes, key, HASH_FIND, NULL);
		return entry != NULL ? entry->note : NULL;
	}
	foreach (cell, notes)
	{
		Note *note = lfirst(cell);

		if (memcmp(&note->key, key, sizeof(NoteKey)) == 0)
			return note;
	}
	return NULL;
}

/* ---- ends of subtransactions ---- */

/* The first of those at the end of the list that the subtransaction has made. */
static int
first_note_of(SubTransactionId subtransaction)
{
	int first = list_length(notes);

	while (first > 0 && ((Note *) list_nth(notes, first - 1))->key.subtransaction == subtransaction)
		first--;
	return first;
}

/* Takes a note out of the list; the last one takes its place. */
static void
remove_note(int place)
{
	Note *note = list_nth(notes, place);

	lfirst(list_nth_cell(notes, place)) = llast(notes);
	notes = list_truncate(notes, list_length(notes) - 1);
	if (index_of_notes != NULL)
		hash_search(index_of_notes, &note->key, HASH_REMOVE, NULL);
	pfree(note);
}

static void
rename_note(Note *note, const NoteKey *key)
{
	if (index_of_notes != NULL)
		hash_update_hash_key(index_of_notes,
							 hash_search(index_of_notes, &note->key, HASH_FIND, NULL), key);
	note->key = *key;
}

static void
add_share(Note *note, const Audience *audience, int64 jobs)
{
	Share *share = note->shares;

	for (int i = 0; i < note->nshares; i++, share++)
		if (audience_is(&share->audience, audience))
		{
			share->jobs += jobs;
			return;
		}
	if (note->nshares == NOTE_SHARES)
	{
		share--;
		share->audience = ANY_AUDIENCE;
		share->jobs += jobs;
		return;
	}
	share->audience = *audience;
	share->jobs = jobs;
	note->nshares++;
}

/* What the subtransaction did, its parent did. */
static void
hand_to_parent(SubTransactionId mine, SubTransactionId parent)
{
	int first = first_note_of(mine);

	for (int place = list_length(notes) - 1; place >= first; place--)
	{
		Note *note = list_nth(notes, place);
		NoteKey key = note->key;
		Note *same;

		key.subtransaction = parent;
		same = find_note(&key);
		if (same == NULL)
		{
			rename_note(note, &key);
			continue;
		}
		same->lowest = lane_key_min(same->lowest, note->lowest);
		for (int i = 0; i < note->nshares; i++)
			add_share(same, &note->shares[i].audience, note->shares[i].jobs);
		same->later = Min(same->later, note->later);
		same->claimed += note->claimed;
		remove_note(place);
	}
	for (int i = list_length(gone) - 1; i >= 0; i--)
	{
		Gone *one = list_nth(gone, i);

		if (one->subtransaction != mine)
			break;
		one->subtransaction = parent;
	}
}

static void
take_back(SubTransactionId mine)
{
	int first = first_note_of(mine);

	for (int place = list_length(notes) - 1; place >= first; place--)
	{
		if (haul_is_preloaded())
			wake_for_claims(list_nth(notes, place));
		remove_note(place);
	}
	while (gone != NIL && ((Gone *) llast(gone))->subtransaction == mine)
		gone = list_truncate(gone, list_length(gone) - 1);
}

/* Allocates nothing. */
static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						 void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		hand_to_parent(mine, parent);
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		take_back(mine);
	else
		return;
	last_note = NULL;
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
	registered = true;
}

static Note *
add_note(const NoteKey *key)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	Note *note = palloc0(sizeof(Note));

	register_callbacks();
	note->key = *key;
	note->lowest = LANE_HIGHEST;
	note->later = DT_NOEND;
	notes = lappend(notes, note);
	if (index_of_notes == NULL && list_length(notes) > FEW_NOTES)
	{
		HASHCTL info = {.keysize = sizeof(NoteKey),
						.entrysize = sizeof(IndexEntry),
						.hcxt = TopTransactionContext};
		ListCell *cell;

		index_of_notes =
			hash_create("pg_haul notes", 256, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		foreach (cell, notes)
			add_to_index(lfirst(cell));
	}
	else if (index_of_notes != NULL)
		add_to_index(note);
	MemoryContextSwitchTo(caller);
	return note;
}

static Note *
note_for_tag(const LaneTag *tag)
{
	NoteKey key;
	Note *note;

	memset(&key, 0, sizeof(NoteKey)); /* compared as bytes */
	key.tag = *tag;
	key.subtransaction = GetCurrentSubTransactionId();
	note = find_note(&key);
	return last_note = note != NULL ? note : add_note(&key);
}

/* Raises an error if enqueuers may have no jobs in the lane. */
static void
refuse_too_many(const LaneTag *tag)
{
	LaneAdmission admission = lane_admit(tag);
	char *queue;

	if (admission == LANE_ADMITTED)
		return;
	queue = pnstrdup(tag->queue, tag->length);
	if (admission == LANE_TOO_MANY)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue \"%s\" has jobs of %d priorities already, and none can be added of "
						"priority %d",
						queue, haul_max_lanes_per_queue, tag->priority),
				 errhint("Use fewer priorities, or raise the setting haul.max_lanes_per_queue.")));
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("database \"%s\" has jobs in %d queues already, and none can be added in "
					"queue \"%s\"",
					get_database_name(MyDatabaseId), haul_max_queues, queue),
			 errhint("Use fewer queues, or raise the setting haul.max_queues.")));
}

static Note *
note_for_lane(const text *queue, int priority, bool enqueued)
{
	LaneTag tag;

	/* rows of one lane come one after the other */
	if (last_note != NULL && last_note->key.tag.priority == priority &&
		last_note->key.tag.jobs == haul_catalog()->jobs &&
		last_note->key.tag.length == VARSIZE_ANY_EXHDR(queue) &&
		memcmp(last_note->key.tag.queue, VARDATA_ANY(queue), last_note->key.tag.length) == 0 &&
		last_note->key.subtransaction == GetCurrentSubTransactionId())
		return last_note;
	lane_tag(&tag, queue, priority);
	if (database_is_served())
	{
		if (enqueued)
			refuse_too_many(&tag);
		(void) lane_ensure(&tag); /* so that the next one is counted with it */
	}
	return note_for_tag(&tag);
}

void
effects_job_waits(const text *queue, int priority)
{
	(void) note_for_lane(queue, priority, true);
}

void
effects_job_ready(TupleTableSlot *job, bool enqueued)
{
	Note *note = note_for_lane(DatumGetTextPP(job_value(job, JOB_QUEUE)),
							   DatumGetInt16(job_value(job, JOB_PRIORITY)), enqueued);
	TimestampTz run_at = job_run_at(job);

	note->lowest = lane_key_min(note->lowest, (LaneKey){run_at, job_id(job)});
	if (run_at <= GetCurrentTransactionStartTimestamp() || run_at <= GetCurrentTimestamp())
	{
		Audience audience;

		audience_of(job, &audience);
		add_share(note, &audience, 1);
	}
	else
		note->later = Min(note->later, run_at);
	database_note_activity();
}

void
effects_show_own(void)
{
	ListCell *cell;

	if (!haul_is_preloaded())
		return;
	foreach (cell, notes)
	{
		const Note *note = lfirst(cell);

		if (made_ready(note))
			(void) lane_lower(&note->key.tag, note->lowest);
	}
}

void
effects_job_expires(TimestampTz expires_at, int64 id)
{
	LaneTag tag;
	Note *note;

	if (!haul_is_preloaded())
		return;
	lane_tag_expiry(&tag);
	note = note_for_tag(&tag);
	note->lowest = lane_key_min(note->lowest, (LaneKey){expires_at, id});
}

void
effects_claimed(const LaneTag *tag, int64 jobs)
{
	if (haul_is_preloaded() && jobs > 0)
		note_for_tag(tag)->claimed += jobs;
}

void
effects_scanned(const LaneScan *scan)
{
	MemoryContext caller;
	LaneScan *copy;

	/* what a savepoint takes back would have to be taken out of the scan, too */
	if (!lane_scan_end(scan) || GetCurrentTransactionNestLevel() > 1)
		return;
	register_callbacks();
	caller = MemoryContextSwitchTo(TopTransactionContext);
	copy = palloc(sizeof(LaneScan));
	*copy = *scan;
	scans = lappend(scans, copy);
	MemoryContextSwitchTo(caller);
}

void
effects_job_ended(void)
{
	register_callbacks();
	job_ended = true;
}

void
effects_replied(const text *mailbox)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	char *name = text_to_cstring(mailbox);

	register_callbacks();
	/* repetitions are dropped when they are sent; most come one after the other */
	if (mailboxes == NIL || strcmp(llast(mailboxes), name) != 0)
		mailboxes = lappend(mailboxes, name);
	MemoryContextSwitchTo(caller);
}

void
effects_worker_gone(int64 worker)
{
	MemoryContext caller;
	Gone *one;

	if (!haul_is_preloaded())
		return;
	register_callbacks();
	caller = MemoryContextSwitchTo(TopTransactionContext);
	one = palloc(sizeof(Gone));
	one->worker = worker;
	one->subtransaction = GetCurrentSubTransactionId();
	gone = lappend(gone, one);
	MemoryContextSwitchTo(caller);
}

PG_FUNCTION_INFO_V1(haul_cron_changed);

/* Statement trigger of haul.cron. */
Datum
haul_cron_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("haul._cron_changed() is a trigger of haul.cron")));
	register_callbacks();
	cron_changed = true;
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(haul_announce);

/* The last statement of the install script. */
Datum
haul_announce(PG_FUNCTION_ARGS)
{
	register_callbacks();
	announce = true;
	PG_RETURN_VOID();
}
