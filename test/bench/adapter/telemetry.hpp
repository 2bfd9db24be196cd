#ifndef HAUL_BENCH_TELEMETRY_HPP
#define HAUL_BENCH_TELEMETRY_HPP

#include "meters.hpp"
#include "settings.hpp"

#include <chrono>
#include <nlohmann/json_fwd.hpp>

namespace haul::bench {

/// Our half of the harness's protocol: records on standard output, a JSON object a line. Not thread-safe;
/// throws std::system_error when nobody reads any more.
class telemetry {
public:
    /// Rates are counted from here.
    telemetry(const settings& settings, const meters& meters);

    /// Says what is about to be measured; asks the database.
    void describe();
    /// One record for each metric.
    void sample();

private:
    void write(nlohmann::json record) const;

    const settings& settings_;
    const meters& meters_;
    std::chrono::steady_clock::time_point sampled_at_;
    std::uint64_t enqueued_ = 0;
    std::uint64_t completed_ = 0;
};

} // namespace haul::bench

#endif
