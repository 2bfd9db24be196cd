/*
 * survey.h: what there is in the lanes, looked up in the table.
 */
#ifndef HAUL_SURVEY_H
#define HAUL_SURVEY_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "shared/lane.h"

/* Looks into all lanes of the database: wakes workers for jobs that are due, learns when others
 * fall due, raises floors. From then on shared memory knows all lanes, if it has room for them. In
 * a transaction. */
extern void survey_all(void);

/* The same for lanes where a job falls due; returns when the next one does. */
extern TimestampTz survey_due(void);

/* Goes on with looking for lanes that are not known, if it is time; returns when it will be. */
extern TimestampTz survey_slice(TimestampTz now);

/* Whether it has more to do than to wait for that time. */
extern bool survey_is_under_way(void);

/* Learns anew, for one lane, when jobs fall due and where its floor may be. In a transaction. */
extern void survey_again(const LaneTag *tag);

#endif
