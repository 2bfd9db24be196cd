/*
 * lane.h: lanes and their floors, in shared memory.
 *
 * A lane is one queue and priority of a database: the jobs that a checkout scans
 * in the order of their keys (run_at, id). Its floor is a key below which no job
 * can be claimed; a scan starts there instead of walking once more past all that
 * is dead. A filtered floor is the same for workers of one filter: below it no job can be
 * claimed by them.
 *
 * The rules, which test/model checks:
 * - A scan notes the generation before it takes its snapshot.
 * - A floor is raised only when the transaction that scanned has committed, never
 *   past a job that was passed over although it may be claimable, and never past
 *   a key that was lowered since the scan noted the generation.
 * - Whoever made a job claimable lowers the floor to its key after the job became
 *   visible, and so gives the lane a new generation, whether or not the key was
 *   below the floor: a scan that missed the job may be about to raise.
 * - Where no callback comes, a hold (prepared transactions) or the sweep does.
 *
 * The floors also tell which lanes a checkout has to come by (ready_lanes.h): those whose floor is
 * not above the present. So a checkout that came to the end of a lane raises the floor further, to
 * the first job that is to come.
 *
 * A lane is an entry of a bounded table. One without an entry has no floor, and is not known:
 * - An entry is made before a job of the lane becomes visible, and given up only when the floor is
 *   the highest.
 * - Where there is none when a job becomes claimable, that is noted, and until a survey has found
 *   all lanes, checkouts look for themselves.
 */
#ifndef HAUL_LANE_H
#define HAUL_LANE_H

#include "postgres.h"

#include "utils/timestamp.h"

/* The place of a job in its lane. */
typedef struct LaneKey
{
	TimestampTz run_at;
	int64 id;
} LaneKey;

#define LANE_LOWEST ((LaneKey){DT_NOBEGIN, PG_INT64_MIN})
#define LANE_HIGHEST ((LaneKey){DT_NOEND, PG_INT64_MAX})

#define QUEUE_BYTES 252 /* 63 characters of at most 4 bytes */

/* Names a lane in the whole cluster. Compared as bytes. */
typedef struct LaneTag
{
	Oid database;
	Oid jobs; /* the table: another after DROP and CREATE EXTENSION */
	int16 priority;
	uint16 length; /* of the queue's name */
	char queue[QUEUE_BYTES];
} LaneTag;

/* A pseudo lane: the jobs with expires_at, in the order of that. No queue has an empty name. */
extern void lane_tag_expiry(LaneTag *tag);
extern void lane_tag(LaneTag *tag, const text *queue, int priority);

static inline int
lane_key_compare(LaneKey a, LaneKey b)
{
	if (a.run_at != b.run_at)
		return a.run_at < b.run_at ? -1 : 1;
	return a.id < b.id ? -1 : a.id > b.id;
}

static inline LaneKey
lane_key_min(LaneKey a, LaneKey b)
{
	return lane_key_compare(a, b) < 0 ? a : b;
}

static inline LaneKey
lane_key_max(LaneKey a, LaneKey b)
{
	return lane_key_compare(a, b) > 0 ? a : b;
}

/* Why a scan passed over a job that may become claimable. The later ones hold up
 * the filtered floors of fewer workers. */
typedef enum LaneObstacle
{
	LANE_NOT_ITS_KIND, /* workers of other kinds may take it */
	LANE_NOT_ITS_NAME, /* pinned, or to be avoided by workers of this name */
	LANE_BUSY,		   /* somebody has it locked */
	LANE_OBSTACLES
} LaneObstacle;

/* A scan of a lane, from its floor up. */
typedef struct LaneScan
{
	LaneTag tag;
	uint64 generation;				 /* noted before the snapshot was taken */
	uint64 filters[LANE_OBSTACLES];	 /* whose floor each obstacle limits; [0] is 0: everybody's */
	LaneKey from;					 /* where it starts */
	LaneKey reached;				 /* everything below was examined */
	LaneKey passed[LANE_OBSTACLES];	 /* first job passed over for this or a later reason */
	bool has_floor;					 /* else it is no use to look at what is to come */
	int64 scanned, skipped, claimed; /* jobs */
} LaneScan;

/* To be read before the snapshot of a scan is taken. */
extern uint64 lane_generation(void);

/* Prepares a scan by a worker with these filters (0: none of that sort). */
extern void lane_scan_begin(LaneScan *scan, uint64 generation, uint64 kinds_filter,
							uint64 name_filter);
extern void lane_scan_passed(LaneScan *scan, LaneKey key, LaneObstacle why);

/* Counts what the scan did. False when no floor can be raised for it. */
extern bool lane_scan_end(const LaneScan *scan);

/* At commit: raises the lane's floors as far as the scan allows. Raises no errors. */
extern void lane_raise(const LaneScan *scan);

/* At commit: a job with this key may be claimed. False when it is the first one in a lane that has
 * no entry: a survey is needed. Raises no errors. */
extern bool lane_lower(const LaneTag *tag, LaneKey key);

/* Gives the lane an entry, before a job of it becomes visible. False when there is no room. */
extern bool lane_ensure(const LaneTag *tag);
typedef enum LaneAdmission
{
	LANE_ADMITTED,
	LANE_TOO_MANY,			  /* its queue has haul.max_lanes_per_queue others */
	LANE_OF_A_QUEUE_TOO_MANY, /* the database has haul.max_queues others */
} LaneAdmission;

/* Whether enqueuers may put something into the lane. */
extern LaneAdmission lane_admit(const LaneTag *tag);
/* The same as lane_ensure(), if nothing is known to be in it. */
extern bool lane_has_room(const LaneTag *tag, bool *is_new);

typedef enum LaneDue
{
	LANE_DUE_LATER,	  /* than another one, maybe of another lane */
	LANE_DUE_SOONEST, /* than any */
	LANE_DUE_LOST,	  /* the lane has no entry to remember it */
} LaneDue;

/* At commit: a job falls due then. Raises no errors. */
extern LaneDue lane_due_at(const LaneTag *tag, TimestampTz due);

/* At commit: there is work in the lane, for which nobody was called. True when nobody else has said
 * so since the last time that this was passed on. Raises no errors. */
extern bool lane_is_unheard(const LaneTag *tag);
/* For the background worker: takes a lane of the database in which there is such work. False when
 * there is no more. */
extern bool lane_take_unheard(Oid database, LaneTag *tag);
/* What was taken is told of; if not done, it is there to be taken again. */
extern void lane_told(Oid database, bool done);

/* Forgets the lanes of a database, but for those of this haul.jobs; there may have been another
 * one. */
extern void lane_forget(Oid database, Oid but_of);

/* ---- prepared transactions ---- */

/* Keeps the floors of these lanes at or below their keys until the transaction is gone;
 * with a count of -1, the floors of all lanes of the database. May raise errors. */
extern void lane_hold(TransactionId xid, const LaneTag *tags, const LaneKey *keys, int count);

/* Lifts the holds of transactions of the database that are gone, lowers the lanes, and calls back
 * for each lane (NULL: for all of them). Returns how many holds remain. */
extern int lane_lift_holds(Oid database, void (*lifted)(const LaneTag *tag));

/* ---- for the background worker ---- */

/* Takes the lane of the database that is to be swept next: its last sweep began before the given
 * time. False when there is none. */
extern bool lane_take_sweep(Oid database, TimestampTz before, TimestampTz now, LaneTag *tag);
extern LaneKey lane_floor(const LaneTag *tag);
/* A sweep begins, which is to look below the floor returned. Ends the lane's filtered floors. */
extern LaneKey lane_sweep_begins(const LaneTag *tag);
/* found: something lay below the floor. */
extern void lane_sweep_ends(const LaneTag *tag, bool found);

/* Takes a lane of the database whose due time has come: it has none until lane_due_at(),
 * so what commits while it is looked for is not lost. False when there is none. */
extern bool lane_take_due(Oid database, TimestampTz now, LaneTag *tag);
/* The same with a certain lane, whether or not its time has come. */
extern void lane_forget_due(const LaneTag *tag);
/* The earliest due time of the database; DT_NOEND when there is none. */
extern TimestampTz lane_next_due(Oid database);

/* A survey of the current database begins, which is to make an entry for each lane that the table
 * has; lane_survey_ends() takes what this returns, and says whether all lanes are known now. */
extern uint64 lane_survey_begins(void);
extern bool lane_survey_ends(uint64 begun);
/* Whether all lanes of a database are known, and when the last survey ended. */
extern bool lane_survey_state(Oid database, TimestampTz *ended);

/* ---- shared memory ---- */

extern Size lane_shmem_size(void);
extern Size lane_table_shmem_size(void);
extern void lane_shmem_attach(void *memory, bool found);

#endif
