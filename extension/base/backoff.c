/*
 * backoff.c: how long to wait before a retry. Pure: needs no server.
 */
#include "base/backoff.h"

#include <math.h>
#include <string.h>

static const struct
{
	const char *name;
	BackoffCurve curve;
	int numbers; /* how many it takes */
	double a;
	double b;
} curves[] = {
	{"exponential", BACKOFF_EXPONENTIAL, 2, 5, 2},
	{"linear", BACKOFF_LINEAR, 1, 5, 0},
	{"constant", BACKOFF_CONSTANT, 1, 10, 0},
	{"polynomial", BACKOFF_POLYNOMIAL, 2, 30, 5},
};

static void
skip_blanks(const char **at, const char *end)
{
	while (*at < end && **at == ' ')
		(*at)++;
}

/* Reads digits with an optional fraction, up to 1e9, whatever the locale. */
static bool
parse_number(const char **at, const char *end, double *number)
{
	double scale = 1;
	int digits = 0;

	*number = 0;
	for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, digits++)
		*number = *number * 10 + (**at - '0');
	if (*at < end && **at == '.')
	{
		(*at)++;
		for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, digits++)
			*number += (**at - '0') * (scale /= 10);
	}
	return digits > 0 && *number <= 1e9;
}

bool
backoff_parse(const char *text, size_t length, Backoff *backoff)
{
	const char *at = text;
	const char *end = text + length;
	double numbers[2];
	size_t i;

	while (at < end && *at >= 'a' && *at <= 'z')
		at++;
	for (i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strlen(curves[i].name) == (size_t) (at - text) &&
			memcmp(curves[i].name, text, at - text) == 0)
			break;
	if (i == sizeof(curves) / sizeof(curves[0]))
		return false;

	backoff->curve = curves[i].curve;
	backoff->a = curves[i].a;
	backoff->b = curves[i].b;
	if (at == end)
		return true;

	if (*at++ != '(')
		return false;
	for (int n = 0; n < curves[i].numbers; n++)
	{
		if (n > 0 && (at == end || *at++ != ','))
			return false;
		skip_blanks(&at, end);
		if (!parse_number(&at, end, &numbers[n]))
			return false;
		skip_blanks(&at, end);
	}
	if (at == end || *at++ != ')' || at != end)
		return false;

	backoff->a = numbers[0];
	backoff->b = curves[i].numbers == 2 ? numbers[1] : 0;
	return true;
}

double
backoff_seconds(const Backoff *backoff, int attempt)
{
	double seconds = 0;

	switch (backoff->curve)
	{
		case BACKOFF_EXPONENTIAL:
			seconds = backoff->a + pow(backoff->b, attempt);
			break;
		case BACKOFF_LINEAR:
			seconds = backoff->a * attempt;
			break;
		case BACKOFF_CONSTANT:
			seconds = backoff->a;
			break;
		case BACKOFF_POLYNOMIAL:
			seconds = backoff->a + pow(attempt - 1, backoff->b);
			break;
	}
	return seconds < BACKOFF_MAX_SECONDS ? seconds : BACKOFF_MAX_SECONDS;
}
