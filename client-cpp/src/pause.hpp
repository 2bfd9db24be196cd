#ifndef HAUL_PAUSE_HPP
#define HAUL_PAUSE_HPP

#include "event.hpp"

#include <chrono>
#include <random>

namespace haul::core {

/// Pauses between attempts to reconnect: they grow, and each is drawn at random from 0 to its limit ("full
/// jitter"), so that the workers of a fleet do not come back all at once. At first they stay well inside
/// haul.reconnect_grace, and always inside haul.worker_timeout, so that nobody who can connect again counts
/// as lost. Not thread-safe.
class reconnect_pause {
public:
    explicit reconnect_pause(std::uint64_t seed = std::random_device{}()) : random_{seed} {}

    /// The pause before the next attempt.
    std::chrono::milliseconds next(steady_time now);
    /// An attempt has succeeded. Pauses begin at their shortest again when that lasts for a second.
    void succeeded(steady_time now) noexcept { connected_ = now; }

    static constexpr std::chrono::milliseconds first{50};
    static constexpr std::chrono::milliseconds longest_at_first{500};
    static constexpr std::chrono::seconds at_first{10};
    static constexpr std::chrono::milliseconds longest{5'000};

private:
    std::mt19937_64 random_;
    std::chrono::milliseconds limit_ = first;
    steady_time connected_{};
    steady_time away_since_{};
};

/// `interval` varied by at most half of the fraction: 60 s and 0.1 give 57 to 63 s.
std::chrono::milliseconds jittered(std::chrono::milliseconds interval, double fraction,
                                   std::mt19937_64& random);

} // namespace haul::core

#endif
