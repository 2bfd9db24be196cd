/*
 * names.c: texts that are names, compared by their bytes.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "base/compat.h"
#include "base/names.h"

int
name_order(const text *a, const text *b)
{
	int difference = (int) VARSIZE_ANY_EXHDR(a) - (int) VARSIZE_ANY_EXHDR(b);

	return difference != 0 ? difference
						   : memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a));
}

static int
compare_names(const void *a, const void *b)
{
	return name_order(*(text *const *) a, *(text *const *) b);
}

void
names_sort(Names *names)
{
	qsort(names->names, names->count, sizeof(text *), compare_names);
}

bool
names_contain(const Names *sorted, const text *name)
{
	return sorted->count > 0 &&
		   bsearch(&name, sorted->names, sorted->count, sizeof(text *), compare_names) != NULL;
}

uint64
name_hash_bytes(const char *bytes, int length, uint64 seed)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) bytes, length, seed);

	return hash != 0 ? hash : 1;
}

uint64
name_hash(const text *name, uint64 seed)
{
	return name_hash_bytes(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), seed);
}
