/*
 * audience.h: which workers may take a job, by hashes of names.
 */
#ifndef HAUL_AUDIENCE_H
#define HAUL_AUDIENCE_H

#include "postgres.h"

#include "executor/tuptable.h"

#define AVOIDED_NAMES 2
#define AND_OTHERS PG_UINT64_MAX

/* Those that take its kind, and have the right name. Compared as bytes. */
typedef struct Audience
{
	uint64 kind;				   /* 0: not known */
	uint64 only;				   /* the only name that may take it; 0: any */
	uint64 avoided[AVOIDED_NAMES]; /* names that may not; 0: no more; at last: AND_OTHERS */
} Audience;

/* Of a kind that is not known: perhaps everybody. */
#define ANY_AUDIENCE ((Audience){0})

extern void audience_of(TupleTableSlot *job, Audience *audience);

static inline bool
audience_is(const Audience *a, const Audience *b)
{
	return memcmp(a, b, sizeof(Audience)) == 0;
}

/* Whether workers of this name are part of it, as far as is known. */
static inline bool
audience_admits(const Audience *audience, uint64 name)
{
	if (audience->only != 0 && audience->only != name)
		return false;
	for (int i = 0; i < AVOIDED_NAMES; i++)
		if (audience->avoided[i] == name)
			return false;
	return true;
}

/* Whether all that is to be known of it is known. */
static inline bool
audience_is_exact(const Audience *audience)
{
	return audience->kind != 0 && audience->avoided[AVOIDED_NAMES - 1] != AND_OTHERS;
}

#endif
