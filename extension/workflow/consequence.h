/*
 * consequence.h: what the ends of jobs bring about: replies, runs of schedules that are over, jobs
 * of workflows that are released or end.
 */
#ifndef HAUL_CONSEQUENCE_H
#define HAUL_CONSEQUENCE_H

#include "postgres.h"

#include "job/call_data.h"

/* Tells all outcomes that the call has noted, and those that follow from them. */
extern void consequences_tell(Call *call);

#endif
