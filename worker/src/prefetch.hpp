#ifndef HAUL_WORKER_PREFETCH_HPP
#define HAUL_WORKER_PREFETCH_HPP

#include "event.hpp"

#include <cstddef>
#include <cstdint>

namespace haul::core {

/// How many jobs to fetch ahead of the threads: what they get through in a few milliseconds, so that they
/// never wait for the database, and slow jobs are not kept from other workers. Not thread-safe.
class prefetch {
public:
    explicit prefetch(std::size_t most) : most_{most} {}

    /// `finished`: jobs that threads have run so far. Returns how many should lie ready beside those that
    /// run.
    std::size_t observe(steady_time now, std::uint64_t finished);

private:
    std::size_t most_;
    double rate_ = 0; // jobs per second, recent ones weigh more
    std::uint64_t finished_ = 0;
    steady_time observed_{};
};

} // namespace haul::core

#endif
