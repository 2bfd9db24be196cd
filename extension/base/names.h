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

#endif
