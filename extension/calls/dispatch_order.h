/*
 * dispatch_order.h: the lanes of a worker, in the order in which it takes jobs from them.
 *
 * Queues in the order of its subscription, or by their own priorities and names; in each queue the
 * lanes by priority. Where shared memory knows the lanes in which there is something to claim
 * (ready_lanes.h), only those are visited, and the order is exact. Elsewhere the index is walked
 * from lane to lane: a walk that was left because the worker had enough is resumed by the next call
 * of the session for this worker, unless it began more than a second ago. So the lanes in front
 * cost no call much that finds something behind them; a job that comes in there may start that
 * second later. A call that returns less than it was asked for has always looked at all lanes.
 */
#ifndef HAUL_DISPATCH_ORDER_H
#define HAUL_DISPATCH_ORDER_H

#include "postgres.h"

#include "job/call_data.h"
#include "rows/worker.h"
#include "shared/lane.h"

typedef struct DispatchOrder DispatchOrder;

/* Begins with the first lane in which the worker may find a job that is due at the given time. */
extern DispatchOrder *dispatch_order_begin(Call *call, const Worker *worker, TimestampTz due);

/* The next lane; false when there is none. The name of its queue is good until the next call. */
extern bool dispatch_order_next(DispatchOrder *order, LaneTag *tag, text **queue);

/* From now on only lanes in which there may be a job due by then. */
extern void dispatch_order_narrow(DispatchOrder *order, TimestampTz due);

/* The worker has enough; the next call goes on with the lane that was visited last. */
extern void dispatch_order_leave(DispatchOrder *order);

#endif
