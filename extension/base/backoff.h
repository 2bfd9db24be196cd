/*
 * backoff.h: how long to wait before a retry. Pure: needs no server.
 */
#ifndef HAUL_BACKOFF_H
#define HAUL_BACKOFF_H

#include <stdbool.h>
#include <stddef.h>

#define BACKOFF_HINT                                                                               \
	"Backoffs are exponential(5,2), linear(5), constant(10) and polynomial(30,5), with numbers "   \
	"from 0 to 1e9 of your own or without any."

/* No delay is longer than this. */
#define BACKOFF_MAX_SECONDS (365 * 86400.0)

typedef enum BackoffCurve
{
	BACKOFF_EXPONENTIAL, /* a + b^attempt */
	BACKOFF_LINEAR,		 /* a * attempt */
	BACKOFF_CONSTANT,	 /* a */
	BACKOFF_POLYNOMIAL,	 /* a + (attempt - 1)^b */
} BackoffCurve;

typedef struct Backoff
{
	BackoffCurve curve;
	double a;
	double b;
} Backoff;

/* Reads "name", "name(a)" or "name(a,b)"; false when it is no backoff. */
extern bool backoff_parse(const char *text, size_t length, Backoff *backoff);

/* Seconds to wait after attempt number `attempt` (1 = the first) has failed: 0 to
 * BACKOFF_MAX_SECONDS. */
extern double backoff_seconds(const Backoff *backoff, int attempt);

#endif
