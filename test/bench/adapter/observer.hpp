#ifndef HAUL_BENCH_OBSERVER_HPP
#define HAUL_BENCH_OBSERVER_HPP

#include "meters.hpp"
#include "settings.hpp"
#include "stop_event.hpp"

namespace haul::bench {

/// Counts the jobs that wait and that run, again and again, until told to stop. While the database is away
/// the last counts stand.
void observe(const settings& settings, meters& meters, const stop_event& stop);

} // namespace haul::bench

#endif
