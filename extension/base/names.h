/*
 * names.h: texts that are names, compared by their bytes.
 */
#ifndef HAUL_NAMES_H
#define HAUL_NAMES_H

#include "postgres.h"

/* A sorted or ordered list of names. */
typedef struct Names
{
	int count;
	text **names;
} Names;

/* An order of texts that is cheap to compute: by length, then bytes. */
extern int name_order(const text *a, const text *b);

/* Sorts a list by name_order(). */
extern void names_sort(Names *names);

/* Whether a name is in a list sorted by name_order(). */
extern bool names_contain(const Names *sorted, const text *name);

/* A hash by which names are told apart where they do not fit in; never 0. */
extern uint64 name_hash(const text *name, uint64 seed);
extern uint64 name_hash_bytes(const char *bytes, int length, uint64 seed);

#endif
