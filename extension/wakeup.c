/*
 * wakeup.c: workers are told of work when the transaction that made it commits.
 *
 * One NOTIFY on the channel "haul" per queue and transaction, sent just before
 * the commit, with the name of the queue as payload. What a rolled back
 * (sub)transaction noted is forgotten. A transaction that is prepared for
 * two-phase commit could not have notified: nobody hears of COMMIT PREPARED, and
 * the worker's poll finds those jobs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "wakeup.h"

typedef struct Note
{
	SubTransactionId subtransaction; /* innermost that is still open */
	int length;
	char queue[FLEXIBLE_ARRAY_MEMBER];
} Note;

/* Of the current transaction; the memory is TopTransactionContext's. */
static List *notes = NIL;

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	ListCell *cell;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			foreach (cell, notes)
				Async_Notify("haul", ((Note *) lfirst(cell))->queue);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			notes = NIL;
			break;
		default:
			break;
	}
}

static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						 void *arg)
{
	ListCell *cell;

	/* neither branch allocates: this runs in aborts, too */
	foreach (cell, notes)
	{
		Note *note = lfirst(cell);

		if (note->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			note->subtransaction = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			notes = foreach_delete_current (notes, cell);
	}
}

void
wakeup_note(text *queue)
{
	static bool registered = false;
	const char *name = VARDATA_ANY(queue);
	int length = VARSIZE_ANY_EXHDR(queue);
	MemoryContext caller;
	ListCell *cell;
	Note *note;

	foreach (cell, notes)
	{
		note = lfirst(cell);
		if (note->length == length && memcmp(note->queue, name, length) == 0)
			return;
	}

	if (!registered)
	{
		RegisterXactCallback(at_end_of_transaction, NULL);
		RegisterSubXactCallback(at_end_of_subtransaction, NULL);
		registered = true;
	}
	caller = MemoryContextSwitchTo(TopTransactionContext);
	note = palloc(offsetof(Note, queue) + length + 1);
	note->subtransaction = GetCurrentSubTransactionId();
	note->length = length;
	memcpy(note->queue, name, length);
	note->queue[length] = '\0';
	notes = lappend(notes, note);
	MemoryContextSwitchTo(caller);
}
