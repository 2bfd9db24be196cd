/*
 * life.h: signs of life.
 */
#ifndef HAUL_LIFE_H
#define HAUL_LIFE_H

#include "postgres.h"

/* The worker calls, so it lives: raises 42501 if it is another role's. Noted at most once a second,
 * in any transaction; costs nothing in between, and waits for nothing. Before anything that the
 * worker's name opens: locks, too. */
extern void life_sign(int64 worker);

#endif
