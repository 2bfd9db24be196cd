/*
 * await.h: sessions that wait for jobs to end (haul.wait_for), in shared memory.
 *
 * A session says that it waits before it looks whether the job has ended; whoever ends a job looks
 * for such sessions after its commit: so nobody waits for what has happened.
 */
#ifndef HAUL_AWAIT_H
#define HAUL_AWAIT_H

#include "postgres.h"

/* At commit: jobs have ended. Wakes those who wait in this database. Raises no errors. */
extern void await_wake(void);

extern Size await_shmem_size(void);
extern void await_shmem_attach(void *memory, bool found);

#endif
