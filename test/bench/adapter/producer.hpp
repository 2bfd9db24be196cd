#ifndef HAUL_BENCH_PRODUCER_HPP
#define HAUL_BENCH_PRODUCER_HPP

#include "meters.hpp"
#include "settings.hpp"
#include "stop_event.hpp"

#include <string>

namespace haul::bench {

constexpr const char* job_kind = "bench";

constexpr const char* queue_prefix = "bench_";

/// Name of one of the queues, 0 to settings::queues - 1.
std::string queue_name(int number);

/// Enqueues jobs, a batch by one COPY in a transaction of its own, as the settings pace it, until told to
/// stop or nobody asks for more. A batch that meets a lost connection is enqueued again: it may be there
/// twice then, which the meters count once.
void produce(const settings& settings, meters& meters, const stop_event& stop);

} // namespace haul::bench

#endif
