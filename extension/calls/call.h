/*
 * call.h: opens and closes calls that change jobs.
 */
#ifndef HAUL_CALL_H
#define HAUL_CALL_H

#include "postgres.h"

#include "job/call_data.h"

/* command: for the error on a read-only server or in a read-only transaction */
extern Call *call_open(const char *command);

/* Writes what was counted and recorded, and tells how jobs ended to those who wait for it. */
extern void call_close(Call *call);

/* What a call does to a job; false when there is nothing to do. */
typedef bool (*CallAct)(Call *call, int64 job, void *arg);

typedef enum CallOutcome
{
	CALL_DONE,
	CALL_NOTHING,
	CALL_FAILED,
} CallOutcome;

/*
 * One of many jobs of a call. With the setting haul.one_by_one, which maintenance sets after it
 * failed, in a call and a subtransaction of its own: an error rolls back what was done to this job,
 * and is kept for haul._take_failure(), if it is the first one.
 */
extern CallOutcome call_for_job(Call *call, const char *command, CallAct act, int64 job, void *arg);

/* What failed since this was last called: the first one; NULL: nothing. */
extern char *call_take_failure(void);

#endif
