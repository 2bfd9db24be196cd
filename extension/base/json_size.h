/*
 * json_size.h: how long values are that come from outside.
 */
#ifndef HAUL_JSON_SIZE_H
#define HAUL_JSON_SIZE_H

#include "postgres.h"

#include "base/settings.h"

/* Whether a jsonb value has at most so many bytes as text. A small one is not even looked into. */
extern bool json_fits(Datum json, int bytes);

/* No less than the length of a jsonb value as text, from the lengths of its parts alone. */
extern Size json_longest(Datum json);

/* Raises an error unless a jsonb value from a caller is within haul.max_args_size; name: of the
 * value, for the message. */
extern void json_refuse_long(Datum json, const char *name);

/* The text, cut to haul.max_args_size with a remark how long it was. */
extern Datum text_cut(Datum text);

#endif
