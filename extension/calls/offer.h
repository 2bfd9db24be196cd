/*
 * offer.h: jobs of workers that are lost.
 *
 * A worker whose sessions ended, or that is silent, may be dead, or may have lost only its
 * connections. Then those of its jobs that may run again are offered to others: they are ready, as
 * if they had not been started, and haul._offers remembers to whom they belong. Nothing is charged
 * on a suspicion.
 *
 *   lives ──silent, or sessions ended──► lost ──haul.lost_timeout, its next life, DELETE──► dead
 *     ▲                                   │
 *     └──────── any sign of life ─────────┘
 *
 * Who comes back gets those that nobody has taken, under the claims that he knows. When he is known
 * to be dead, his offers are charged with an interruption. A job that an interruption would end is
 * never offered: it stays with its worker until it is known which of the two it is. Open offers
 * count as interruptions for that, so a job that kills its workers is stopped in time.
 */
#ifndef HAUL_OFFER_H
#define HAUL_OFFER_H

#include "postgres.h"

#include "job/call_data.h"

typedef enum OfferEnd
{
	OFFER_WORKER_RETURNED,
	OFFER_WORKER_DIED,
} OfferEnd;

/* The worker has come back, or is dead. One that has come back is lost no more; unless somebody is
 * busy with it just now: then its next sign will do. */
extern void offer_end(int64 worker, OfferEnd how);

/* The worker calls about a job, found ready, that it was handed under this claim: takes the job
 * back for it, if it was offered and nobody has taken it. Returns whether to look again at the job.
 */
extern bool offer_take_back(Call *call, int64 worker, int64 id, int32 claim);

#endif
