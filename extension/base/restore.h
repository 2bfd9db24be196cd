/*
 * restore.h: whether rows come from a dump.
 */
#ifndef HAUL_RESTORE_H
#define HAUL_RESTORE_H

#include "postgres.h"

/*
 * Whether the statement that the client sent restores a dump into this table of ours: COPY FROM, or
 * an INSERT in a session that pg_dump's script or pg_restore has set up; by the owner of the
 * extension, and not by a function that only borrows the owner's rights. For row triggers.
 */
extern bool restore_into(Oid table, const char *name);

#endif
