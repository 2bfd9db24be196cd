/*
 * maintain.h: the parts of haul.maintain() that SQL cannot say.
 */
#ifndef HAUL_MAINTAIN_H
#define HAUL_MAINTAIN_H

#include "postgres.h"

/* Set when there was more to expire than one pass sees to. */
extern bool maintenance_left_jobs;

#endif
