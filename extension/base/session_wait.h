/*
 * session_wait.h: how a procedure waits on the server between two transactions.
 */
#ifndef HAUL_SESSION_WAIT_H
#define HAUL_SESSION_WAIT_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

/* Refuses to run inside a transaction block: a procedure that cannot commit would hold its snapshot
 * while it waits. instead: what to call there. */
extern void session_refuse_transaction_block(FunctionCallInfo fcinfo, const char *procedure,
											 const char *instead);

/* Whether the client's statement is this very call: then its transaction ends with it. Else, in a
 * DO block or another procedure, it goes on. */
extern bool session_is_calling(FunctionCallInfo fcinfo);

/* The end of a wait that begins now. Raises an error, with the name of the argument, for a negative
 * one. */
extern TimestampTz session_wait_end(const Interval *wait, const char *argument);

/* Waits for the latch, which is then reset, for the client to go away, which is an error, or for so
 * long. */
extern void session_wait(long milliseconds, uint32 event);

/* Raises an error when the client has gone away. May reset the latch. */
extern void session_check_client(void);

#endif
