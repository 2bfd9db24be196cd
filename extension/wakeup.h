/*
 * wakeup.h: workers are told of work when the transaction that made it commits.
 */
#ifndef HAUL_WAKEUP_H
#define HAUL_WAKEUP_H

#include "postgres.h"

/* Notes that the current (sub)transaction made a job of the queue ready, now or for a later time.
 */
extern void wakeup_note(text *queue);

#endif
