/*
 * heartbeat.h: signs of life in haul.workers.
 */
#ifndef HAUL_HEARTBEAT_H
#define HAUL_HEARTBEAT_H

#include "postgres.h"

/* What a worker says of itself; NULL: as it was. */
typedef struct Beat
{
	const int32 *busy;
	text *status;
} Beat;

/* The worker lives: noted without waiting for anybody who has its row locked. Where that is not
 * possible, it is an UPDATE. False when the worker has no row. */
extern bool heartbeat_note(int64 worker, const Beat *beat);

/* The same from within any transaction: what would need an UPDATE or a wait is left undone. */
extern void heartbeat_note_in_passing(int64 worker);

#endif
