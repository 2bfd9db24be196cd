#include "pause.hpp"

#include <algorithm>

namespace haul::core {

namespace {
constexpr std::chrono::seconds healthy{1};
}

std::chrono::milliseconds reconnect_pause::next(steady_time now) {
    if (away_since_ == steady_time{} || (connected_ != steady_time{} && now - connected_ >= healthy)) {
        limit_ = first;
        away_since_ = now;
    }
    connected_ = {};
    const std::chrono::milliseconds drawn{
        std::uniform_int_distribution<std::int64_t>{0, limit_.count()}(random_)};
    limit_ = std::min(2 * limit_, now - away_since_ < at_first ? longest_at_first : longest);
    return drawn;
}

std::chrono::milliseconds jittered(std::chrono::milliseconds interval, double fraction,
                                   std::mt19937_64& random) {
    const double spread = static_cast<double>(interval.count()) * fraction / 2;
    const double drawn = std::uniform_real_distribution<double>{-1, 1}(random)*spread;
    return interval + std::chrono::milliseconds{static_cast<std::int64_t>(drawn)};
}

} // namespace haul::core
