/*
 * checkout.h: due jobs for a worker, in dispatch order.
 */
#ifndef HAUL_CHECKOUT_H
#define HAUL_CHECKOUT_H

#include "postgres.h"

/* Set while haul.checkout_wait runs haul.checkout: a session that found nothing is
 * woken by its latch, however its worker wants to be told otherwise. */
extern bool checkout_waits_by_latch;

/* Whether the last checkout passed over a job that somebody else had locked: when that ends, nobody
 * may tell. */
extern bool checkout_passed_locked;

/* Whether it left jobs to the next one, having ended as many on its way as one call may. */
extern bool checkout_left_jobs;

#endif
