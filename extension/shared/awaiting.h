/*
 * awaiting.h: sessions that wait for jobs to end (haul.wait_for), in shared memory.
 *
 * A session says that it waits before it looks whether the job has ended; whoever ends a job looks
 * for such sessions after its commit: so nobody waits for what has happened.
 */
#ifndef HAUL_AWAITING_H
#define HAUL_AWAITING_H

#include "postgres.h"

/* The session waits, until it says otherwise or ends; neither does anything when not preloaded. */
extern void awaiting_begin(void);
extern void awaiting_end(void);

/* At commit: jobs have ended. Wakes those who wait in this database. Raises no errors. */
extern void awaiting_wake(void);

/* ---- shared memory ---- */

extern Size awaiting_shmem_size(void);
extern void awaiting_shmem_attach(void *memory, bool found);

#endif
