/*
 * cron_expr.c: expressions of cron, and the local times that they match. Pure: needs no server.
 */
#include "cron/cron_expr.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DAY 86400

/* ---- reading ---- */

/* A part of the text. */
typedef struct Word
{
	const char *at;
	const char *end;
} Word;

typedef struct Field
{
	const char *name;
	int low;
	int high;
	int values;		   /* how many there are; both 0 and 7 are Sunday */
	const char *names; /* three letters each, from the lowest value on */
} Field;

enum
{
	SECOND,
	MINUTE,
	HOUR,
	DAY_OF_MONTH,
	MONTH,
	DAY_OF_WEEK,
	FIELDS
};

static const Field fields[FIELDS] = {
	{"second", 0, 59, 60, ""},
	{"minute", 0, 59, 60, ""},
	{"hour", 0, 23, 24, ""},
	{"day-of-month", 1, 31, 31, ""},
	{"month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	{"day-of-week", 0, 7, 7, "sunmontuewedthufrisat"},
};

static const struct
{
	const char *name;
	const char *meaning; /* NULL: at the start of the server, at no time */
} names[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
	{"@every_minute", "* * * * *"},
	{"@every_second", "* * * * * *"},
	{"@reboot", NULL},
	{"@restart", NULL}, /* as pg_cron calls it, too */
};

#define NAMES                                                                                      \
	"@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, @every_minute, "           \
	"@every_second, @reboot"

/* How an error shows a word: its head, if it is long. */
#define WORD "\"%.*s%s\""
#define WORD_ARGS(word)                                                                            \
	(int) ((word).end - (word).at > 24 ? 24 : (word).end - (word).at), (word).at,                  \
		(word).end - (word).at > 24 ? "..." : ""

/* Fails, and says why: in ASCII, since a character of more bytes may be cut in two. */
static bool cron_refuse(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool
cron_refuse(char *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, CRON_EXPR_ERROR_SIZE, format, arguments);
	va_end(arguments);
	for (; *error != '\0'; error++)
		if (*error < ' ' || *error > '~')
			*error = '?';
	return false;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
letter_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool
is_letter(char c)
{
	return letter_lower(c) >= 'a' && letter_lower(c) <= 'z';
}

/* Without regard to case; `other` is in small letters. */
static bool
word_matches(Word word, const char *other, size_t length)
{
	if ((size_t) (word.end - word.at) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (letter_lower(word.at[i]) != other[i])
			return false;
	return true;
}

/* Reads digits. What is too large for any purpose of ours stays so. */
static int
read_digits(Word *word)
{
	int number = 0;

	for (; word->at < word->end && is_digit(*word->at); word->at++)
		if (number < 1000000)
			number = number * 10 + (*word->at - '0');
	return number;
}

/* Reads a number or a name at the start of `rest`, which is a part of `item`. */
static bool
read_value(const Field *field, Word item, Word *rest, int *value, char *error)
{
	Word token = *rest;

	if (rest->at < rest->end && is_digit(*rest->at))
	{
		*value = read_digits(rest);
		token.end = rest->at;
		if (*value < field->low || *value > field->high)
			return cron_refuse(error, "%s " WORD " is not in %d-%d", field->name, WORD_ARGS(token),
							   field->low, field->high);
		return true;
	}

	while (rest->at < rest->end && is_letter(*rest->at))
		rest->at++;
	token.end = rest->at;
	for (int i = 0; field->names[3 * i] != '\0'; i++)
	{
		*value = field->low + i;
		if (word_matches(token, field->names + 3 * i, 3))
			return true;
	}
	if (*field->names == '\0')
		return cron_refuse(error, "%s " WORD ": a number from %d to %d%s is missing", field->name,
						   WORD_ARGS(item), field->low, field->high,
						   field == &fields[DAY_OF_MONTH] ? ", or $ for the last day," : "");
	return cron_refuse(error,
					   "%s " WORD ": a number from %d to %d or a name from %.3s to %s is missing",
					   field->name, WORD_ARGS(item), field->low, field->high, field->names,
					   field->names + strlen(field->names) - 3);
}

static bool
next_is(Word word, char c)
{
	return word.at < word.end && *word.at == c;
}

/* Reads an item of a list: *, a value or a range, with a step or without. */
static bool
read_item(const Field *field, Word item, uint64_t *bits, char *error)
{
	Word rest = item;
	int first = field->low;
	int last = field->high;
	int step = 1;

	if (next_is(rest, '*'))
		rest.at++;
	else if (!read_value(field, item, &rest, &first, error))
		return false;
	else if (next_is(rest, '-'))
	{
		rest.at++;
		if (!read_value(field, item, &rest, &last, error))
			return false;
		/* a week may end on a Sunday, whichever day it begins on */
		if (field == &fields[DAY_OF_WEEK] && last == 0 && first > 0)
			last = 7;
		if (first > last)
			return cron_refuse(error, "%s " WORD ": the range runs backwards", field->name,
							   WORD_ARGS(item));
	}
	else if (!next_is(rest, '/'))
		last = first;

	if (next_is(rest, '/'))
	{
		Word digits;

		rest.at++;
		digits.at = rest.at;
		step = read_digits(&rest);
		if (digits.at == rest.at || step < 1 || step > field->values)
			return cron_refuse(error, "%s " WORD ": the step, after the slash, is not in 1-%d",
							   field->name, WORD_ARGS(item), field->values);
	}
	if (rest.at < rest.end)
		return cron_refuse(error, "%s " WORD ": " WORD " does not belong there", field->name,
						   WORD_ARGS(item), WORD_ARGS(rest));

	for (int value = first; value <= last; value += step)
		*bits |= UINT64_C(1) << value;
	return true;
}

/* Reads a list. Sets *last_day for a $ in it, which only the day of the month may have. */
static bool
read_list(const Field *field, Word list, uint64_t *bits, bool *last_day, char *error)
{
	Word item = list;

	*bits = 0;
	for (;;)
	{
		item.end = memchr(item.at, ',', list.end - item.at);
		if (item.end == NULL)
			item.end = list.end;

		if (item.at == item.end)
			return cron_refuse(error, "%s " WORD ": a value is missing beside a comma", field->name,
							   WORD_ARGS(list));
		if (field == &fields[DAY_OF_MONTH] && word_matches(item, "$", 1))
			*last_day = true;
		else if (!read_item(field, item, bits, error))
			return false;

		if (item.end == list.end)
			return true;
		item.at = item.end + 1;
	}
}

/* Whether there is such a date in some year. A weekday alone excludes none. */
static bool
can_match(const CronExpr *expr)
{
	static const uint32_t month_lengths[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (expr->either_day || expr->last_day)
		return true;
	for (int month = 1; month <= 12; month++)
		if ((expr->months >> month & 1) != 0 &&
			(expr->days & ((UINT64_C(2) << month_lengths[month]) - 1)) != 0)
			return true;
	return false;
}

/* Five fields, from the minute on, or six. */
static bool
read_fields(const Word *words, int count, CronExpr *expr, char *error)
{
	const Word *word = words;
	uint64_t bits[FIELDS];

	bits[SECOND] = 1;
	for (int i = count == FIELDS ? SECOND : MINUTE; i < FIELDS; i++)
		if (!read_list(&fields[i], *word++, &bits[i], &expr->last_day, error))
			return false;

	expr->kind = CRON_CALENDAR;
	expr->seconds = bits[SECOND];
	expr->minutes = bits[MINUTE];
	expr->hours = (uint32_t) bits[HOUR];
	expr->days = (uint32_t) bits[DAY_OF_MONTH];
	expr->months = (uint32_t) bits[MONTH];
	expr->weekdays = (uint32_t) (bits[DAY_OF_WEEK] | bits[DAY_OF_WEEK] >> 7) & 0x7F;
	/* as cron always had it: a field is restricted unless it begins with an asterisk */
	expr->either_day = !next_is(words[count - 3], '*') && !next_is(words[count - 1], '*');
	if (!can_match(expr))
		return cron_refuse(error, "it never matches: no month that it names has such a day");
	return true;
}

static bool
cron_read_interval(const Word *words, CronExpr *expr, char *error)
{
	Word number = words[0];

	expr->interval = read_digits(&number);
	if (!word_matches(words[1], "second", 6) && !word_matches(words[1], "seconds", 7))
		return cron_refuse(
			error, WORD ": intervals are in seconds; */5 as the minute is every five minutes",
			WORD_ARGS(words[1]));
	if (expr->interval < 1 || expr->interval > CRON_EXPR_MAX_INTERVAL)
		return cron_refuse(error, WORD " is not in 1-%d seconds", WORD_ARGS(words[0]),
						   CRON_EXPR_MAX_INTERVAL);
	expr->kind = CRON_INTERVAL;
	return true;
}

static bool
read_name(Word word, CronExpr *expr, char *error)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (!word_matches(word, names[i].name, strlen(names[i].name)))
			continue;
		if (names[i].meaning != NULL)
			return cron_expr_parse(names[i].meaning, strlen(names[i].meaning), expr, error);
		expr->kind = CRON_REBOOT;
		return true;
	}
	return cron_refuse(error, WORD " is none of " NAMES, WORD_ARGS(word));
}

static bool
is_number(Word word)
{
	read_digits(&word);
	return word.at == word.end;
}

bool
cron_expr_parse(const char *text, size_t length, CronExpr *expr, char *error)
{
	Word words[FIELDS];
	int count = 0;
	const char *at = text;
	const char *end = text + length;

	memset(expr, 0, sizeof(*expr));
	if (length > CRON_EXPR_MAX_LENGTH)
		return cron_refuse(error, "it is longer than %d bytes", CRON_EXPR_MAX_LENGTH);

	for (;; count++)
	{
		Word word;

		while (at < end && is_blank(*at))
			at++;
		if (at == end)
			break;
		word.at = at;
		while (at < end && !is_blank(*at))
			at++;
		word.end = at;
		if (count < FIELDS)
			words[count] = word;
	}

	if (count == 0)
		return cron_refuse(error, "it is empty");
	if (next_is(words[0], '@'))
		return count == 1 ? read_name(words[0], expr, error)
						  : cron_refuse(error, WORD " stands after a name, where nothing may",
										WORD_ARGS(words[1]));
	if (count == 2 && is_number(words[0]))
		return cron_read_interval(words, expr, error);
	if (count != FIELDS && count != FIELDS - 1)
		return cron_refuse(error, "it has %d field%s, not 5 or 6", count, count == 1 ? "" : "s");
	return read_fields(words, count, expr, error);
}

/* ---- searching ---- */

static bool
is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Months are counted from January of the year 0. */
static int64_t
year_of(int64_t month)
{
	return floor_div(month, 12);
}

/* 1 to 12 */
static int
number_of(int64_t month)
{
	return (int) (month - 12 * year_of(month)) + 1;
}

static int
length_of(int64_t month)
{
	int number = number_of(month);

	if (number == 2)
		return is_leap(year_of(month)) ? 29 : 28;
	return 30 + (number + (number > 7)) % 2;
}

/* The first day of a month. Days are counted from 1970-01-01; years from March on, so that a leap
 * day is the last of its year, and the lengths of months follow a line. */
static int64_t
first_day(int64_t month)
{
	int64_t year = floor_div(month - 2, 12);
	int64_t past_march = month - 2 - 12 * year;

	return 365 * year + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
		   (153 * past_march + 2) / 5 - 719468;
}

static int64_t
month_with(int64_t day)
{
	/* a guess, which is off by one at most: 146097 days are 4800 months */
	int64_t month = floor_div((day + 719528) * 4800, 146097);

	while (first_day(month) > day)
		month--;
	while (first_day(month + 1) <= day)
		month++;
	return month;
}

/* Bit n is set when the day n of the month matches. */
static uint32_t
matching_days(const CronExpr *expr, int64_t month)
{
	int length = length_of(month);
	int64_t first = first_day(month);
	int weekday = (int) (first + 4 - 7 * floor_div(first + 4, 7)); /* 1970-01-01 was a Thursday */
	uint64_t days = expr->days;
	uint64_t week;

	if ((expr->months >> number_of(month) & 1) == 0)
		return 0;
	if (expr->last_day)
		days |= UINT64_C(1) << length;
	/* the days of a week that begins with the first of the month, five times over */
	week = (expr->weekdays | (uint64_t) expr->weekdays << 7) >> weekday & 0x7F;
	week = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1;
	days = expr->either_day ? days | week : days & week;
	return (uint32_t) (days & ((UINT64_C(2) << length) - 1));
}

#define NO_BIT (-1)

static int
first_bit(uint64_t bits, int from)
{
	bits = from > 63 ? 0 : bits >> from << from;
	return bits == 0 ? NO_BIT : __builtin_ctzll(bits);
}

static int
last_bit(uint64_t bits, int from)
{
	bits = from < 0 ? 0 : bits << (63 - from) >> (63 - from);
	return bits == 0 ? NO_BIT : 63 - __builtin_clzll(bits);
}

/* First matching second of the day from `from` on, or NO_BIT. */
static int
first_time(const CronExpr *expr, int from)
{
	int hour = from / 3600;
	int minute = from / 60 % 60;
	int second = from % 60;

	if ((expr->hours >> hour & 1) != 0)
	{
		int next = (expr->minutes >> minute & 1) != 0 ? first_bit(expr->seconds, second) : NO_BIT;

		if (next != NO_BIT)
			return hour * 3600 + minute * 60 + next;
		next = first_bit(expr->minutes, minute + 1);
		if (next != NO_BIT)
			return hour * 3600 + next * 60 + first_bit(expr->seconds, 0);
	}
	hour = first_bit(expr->hours, hour + 1);
	if (hour == NO_BIT)
		return NO_BIT;
	return hour * 3600 + first_bit(expr->minutes, 0) * 60 + first_bit(expr->seconds, 0);
}

/* Last matching second of the day from `from` down, or NO_BIT. */
static int
last_time(const CronExpr *expr, int from)
{
	int hour = from / 3600;
	int minute = from / 60 % 60;
	int second = from % 60;

	if ((expr->hours >> hour & 1) != 0)
	{
		int next = (expr->minutes >> minute & 1) != 0 ? last_bit(expr->seconds, second) : NO_BIT;

		if (next != NO_BIT)
			return hour * 3600 + minute * 60 + next;
		next = last_bit(expr->minutes, minute - 1);
		if (next != NO_BIT)
			return hour * 3600 + next * 60 + last_bit(expr->seconds, 59);
	}
	hour = last_bit(expr->hours, hour - 1);
	if (hour == NO_BIT)
		return NO_BIT;
	return hour * 3600 + last_bit(expr->minutes, 59) * 60 + last_bit(expr->seconds, 59);
}

bool
cron_expr_first(const CronExpr *expr, int64_t from, int64_t until, int64_t *match)
{
	int64_t day = floor_div(from, DAY);
	int64_t month = month_with(day);
	int time = first_time(expr, (int) (from - day * DAY));
	int next;

	/* what is left of the first day; then whole days */
	next = (int) (day - first_day(month)) + 1;
	if (time == NO_BIT || (matching_days(expr, month) >> next & 1) == 0)
	{
		time = first_time(expr, 0);
		next = first_bit(matching_days(expr, month), next + 1);
	}
	while (next == NO_BIT)
	{
		month++;
		if (first_day(month) * DAY > until)
			return false;
		next = first_bit(matching_days(expr, month), 1);
	}
	*match = (first_day(month) + next - 1) * DAY + time;
	return *match <= until;
}

bool
cron_expr_last(const CronExpr *expr, int64_t from, int64_t until, int64_t *match)
{
	int64_t day = floor_div(from, DAY);
	int64_t month = month_with(day);
	int time = last_time(expr, (int) (from - day * DAY));
	int next;

	next = (int) (day - first_day(month)) + 1;
	if (time == NO_BIT || (matching_days(expr, month) >> next & 1) == 0)
	{
		time = last_time(expr, DAY - 1);
		next = last_bit(matching_days(expr, month), next - 1);
	}
	while (next == NO_BIT)
	{
		if (first_day(month) * DAY <= until)
			return false;
		month--;
		next = last_bit(matching_days(expr, month), 31);
	}
	*match = (first_day(month) + next - 1) * DAY + time;
	return *match >= until;
}
