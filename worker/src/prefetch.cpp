#include "prefetch.hpp"

#include <algorithm>
#include <cmath>

namespace haul::core {

namespace {

using seconds = std::chrono::duration<double>;

constexpr seconds horizon{0.02}; // work to keep ready
constexpr seconds memory{0.02};  // after this time an observation weighs a third

} // namespace

std::size_t prefetch::observe(steady_time now, std::uint64_t finished) {
    const seconds passed = now - observed_;
    if (observed_ == steady_time{}) {
        observed_ = now;
        finished_ = finished;
    } else if (passed.count() > 0) {
        const double current = static_cast<double>(finished - finished_) / passed.count();
        rate_ += (current - rate_) * (1 - std::exp(-passed / memory));
        observed_ = now;
        finished_ = finished;
    }
    return std::min(most_, static_cast<std::size_t>(rate_ * horizon.count()));
}

} // namespace haul::core
