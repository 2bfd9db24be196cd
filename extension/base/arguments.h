/*
 * arguments.h: arguments that the calls of the worker protocol share.
 *
 * Bad ones raise an error, which names the argument.
 */
#ifndef HAUL_ARGUMENTS_H
#define HAUL_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"

/* Arguments 0 to 2 of the calls about one job. */
typedef struct Token
{
	int64 worker;
	int64 id;
	int32 claim;
} Token;

/* One of the jobs of the calls about many. */
typedef struct NamedJob
{
	int64 id;
	int32 claim;
	int position; /* in the caller's arrays */
} NamedJob;

extern void arguments_refuse_null(FunctionCallInfo fcinfo, int argument, const char *name);

extern Token arguments_token(FunctionCallInfo fcinfo);

/* An array of bigint or integer without nulls; returns its length. */
extern int arguments_array(FunctionCallInfo fcinfo, int argument, const char *name, Oid type,
						   Datum **elements);

/* For an array that must be as long as "ids". */
extern void arguments_refuse_lengths(const char *name, int length, int wanted);

/*
 * Arguments 1 and 2 of the calls about many jobs, in the order of their ids and claims: so the
 * index is walked in one direction, and no two calls wait for each other in a
 * circle. Returns how many.
 */
extern int arguments_jobs(FunctionCallInfo fcinfo, NamedJob **jobs);

/* That order, for bsearch(). */
extern int named_job_compare(const void *a, const void *b);

#endif
