/*
 * client_process.h: the process at the other end of a session, if it runs on this machine.
 */
#ifndef HAUL_CLIENT_PROCESS_H
#define HAUL_CLIENT_PROCESS_H

#include "postgres.h"

/* The process that connected to us by a Unix socket; 0 when that is not how we are connected, or
 * when it lives in a world of processes that we do not see. */
extern pid_t client_process(void);

/* Whether such a process has certainly ended. */
extern bool process_is_gone(pid_t process);

#endif
