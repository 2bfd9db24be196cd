/*
 * json_size.c: how long values are that come from outside.
 *
 * The length as text is what counts, since that is what is sent and shown; in the server's own
 * form a value may be a thousand times shorter: 1e100000 takes 14 bytes, a control character one.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/json_size.h"
#include "base/settings.h"

/* characters: 131072 digits before the point, 16383 behind it, the point and the sign */
#define LONGEST_NUMBER 147457
/* of one in the short format: 64 groups of 4 digits before the point, 63 digits behind it */
#define LONGEST_SHORT_NUMBER 321
/* bytes that a number takes at least in jsonb, with its entry; nothing else grows as much as text
 */
#define SMALLEST_NUMBER 12
#define MOST_TIMES_LONGER (LONGEST_NUMBER / SMALLEST_NUMBER + 1)
/* as \u0001 */
#define LONGEST_CHARACTER 6

/* The format that numeric.c chooses for all but the longest numbers (NUMERIC_SHORT). */
static bool
is_short_number(const void *number)
{
	uint16 header;

	memcpy(&header, VARDATA_ANY(number), sizeof(header));
	return (header & 0xC000) == 0x8000;
}

static int64
upper_bound(const JsonbContainer *container)
{
	int children = JsonContainerSize(container) * (JsonContainerIsObject(container) ? 2 : 1);
	const char *values = (const char *) &container->children[children];
	uint32 end = 0;
	int64 bound = 2;

	check_stack_depth();
	for (int i = 0; i < children; i++)
	{
		JEntry entry = container->children[i];
		uint32 start = end;

		JBE_ADVANCE_OFFSET(end, entry);
		if (JBE_ISNUMERIC(entry))
			bound +=
				is_short_number(values + INTALIGN(start)) ? LONGEST_SHORT_NUMBER : LONGEST_NUMBER;
		else if (JBE_ISCONTAINER(entry))
			bound += upper_bound((const JsonbContainer *) (values + INTALIGN(start)));
		else
			/* with its quotes; or true, false, null, which have no length */
			bound += (int64) LONGEST_CHARACTER * (end - start) + strlen("false");
		bound += strlen(", ");
	}
	return bound;
}

static int64
string_length(const char *string, int bytes)
{
	int64 length = bytes + strlen("\"\"");

	for (int i = 0; i < bytes; i++)
	{
		unsigned char c = string[i];

		if (c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v'))
			length += 1;
		else if (c < ' ')
			length += LONGEST_CHARACTER - 1;
	}
	return length;
}

static int64
scalar_length(const JsonbValue *value)
{
	char *digits;
	int64 length;

	switch (value->type)
	{
		case jbvString:
			return string_length(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			digits = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			length = strlen(digits);
			pfree(digits);
			return length;
		case jbvBool:
			return value->val.boolean ? strlen("true") : strlen("false");
		default:
			return strlen("null");
	}
}

/* Whether the text, of which no more is measured than that, has at most so many bytes. */
static bool
text_fits(Jsonb *json, int64 bytes)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	int64 length = 0;

	/* a separator is counted with each value, and taken off again with the brackets around them */
	bytes += strlen(", ");
	while (length <= bytes && (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY)
			length += (value.val.array.rawScalar ? 0 : strlen("[], ")) -
					  (value.val.array.nElems > 0 ? strlen(", ") : 0);
		else if (token == WJB_BEGIN_OBJECT)
			length += strlen("{}, ") - (value.val.object.nPairs > 0 ? strlen(", ") : 0);
		else if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			length += scalar_length(&value) + strlen(", ");
	}
	return length <= bytes;
}

Size
json_longest(Datum json)
{
	return upper_bound(&DatumGetJsonbP(json)->root);
}

bool
json_fits(Datum json, int bytes)
{
	Jsonb *value;

	if (toast_raw_datum_size(json) <= bytes / MOST_TIMES_LONGER)
		return true;
	value = DatumGetJsonbP(json);
	return upper_bound(&value->root) <= bytes || text_fits(value, bytes);
}

void
json_refuse_long(Datum json, const char *name)
{
	if (!json_fits(json, haul_max_args_size))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be longer than %d bytes as text", name, haul_max_args_size),
				 errhint("Put it into a table or a file and pass on where it is, or raise "
						 "the setting haul.max_args_size.")));
}

Datum
text_cut(Datum text)
{
	int bytes = toast_raw_datum_size(text) - VARHDRSZ;
	struct varlena *whole;
	StringInfoData cut;

	if (bytes <= haul_max_args_size)
		return text;
	whole = PG_DETOAST_DATUM_PACKED(text);
	initStringInfo(&cut);
	appendBinaryStringInfo(&cut, VARDATA_ANY(whole),
						   pg_mbcliplen(VARDATA_ANY(whole), bytes, haul_max_args_size));
	appendStringInfo(&cut, "... (%d bytes)", bytes);
	return PointerGetDatum(cstring_to_text_with_len(cut.data, cut.len));
}
