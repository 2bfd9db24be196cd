#ifndef HAUL_BENCH_HISTOGRAM_HPP
#define HAUL_BENCH_HISTOGRAM_HPP

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

namespace haul::bench {

struct percentiles {
    double p50 = 0; ///< milliseconds, as all of them
    double p95 = 0;
    double p99 = 0;
};

/// Durations of the last seconds, in a fixed amount of memory: three significant figures from 1 µs to more
/// than an hour. Thread-safe.
class histogram {
public:
    explicit histogram(std::chrono::seconds window) : slots_(static_cast<std::size_t>(window.count())) {}

    /// Less than 0 (of two clocks that differ) counts as 0.
    void record(std::chrono::nanoseconds duration, std::uint32_t times = 1);
    /// Zeros when nothing was recorded.
    percentiles recent() const;

private:
    using clock = std::chrono::steady_clock;
    using counts = std::vector<std::uint32_t>;

    struct slot {
        std::int64_t second = -1; ///< that it holds, of the clock
        counts buckets;
    };

    static std::int64_t this_second();

    mutable std::mutex mutex_;
    std::vector<slot> slots_; ///< one a second
};

} // namespace haul::bench

#endif
