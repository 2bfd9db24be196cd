#ifndef HAUL_BENCH_METERS_HPP
#define HAUL_BENCH_METERS_HPP

#include "histogram.hpp"

#include <atomic>
#include <cstdint>

namespace haul::bench {

/// What the parts of the adapter measure and the samples tell. Thread-safe.
struct meters {
    explicit meters(std::chrono::seconds window) : call{window}, claim{window}, end_to_end{window} {}

    std::atomic<std::uint64_t> enqueued{0};  ///< jobs whose commit returned
    std::atomic<std::uint64_t> completed{0}; ///< jobs whose handler ended
    std::atomic<long> ready{0};              ///< jobs that wait for a worker
    std::atomic<long> running{0};            ///< jobs that workers hold
    std::atomic<double> target_rate{0};      ///< jobs/s that are to be enqueued

    histogram call;       ///< a call that enqueues a batch
    histogram claim;      ///< from the begin of the enqueuing transaction to the begin of the handler
    histogram end_to_end; ///< … to the end of the handler
};

} // namespace haul::bench

#endif
