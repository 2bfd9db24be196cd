#ifndef HAUL_WORKER_TROUBLE_HPP
#define HAUL_WORKER_TROUBLE_HPP

#include "event.hpp"

#include <algorithm>
#include <chrono>

namespace haul::core {

/// Something that goes wrong again and again: for how long it has, when to try once more, and when to say so.
/// It is over when that is said, or when it has not happened for half a minute. Not thread-safe.
class trouble {
public:
    /// It has gone wrong, for the first time or again. Returns whether to log that: at once, then after a
    /// second, and then each time after twice as long.
    bool happened(steady_time now) noexcept {
        if (!lasts() || now - last_ > forgotten) {
            pause_ = none;
            since_ = log_at_ = now;
            log_interval_ = first_log_interval;
        }
        last_ = now;
        pause_ = std::clamp(2 * pause_, shortest, longest);
        if (now < log_at_)
            return false;
        log_at_ = now + log_interval_;
        log_interval_ *= 2;
        return true;
    }

    void over() noexcept { pause_ = none; }
    bool lasts() const noexcept { return pause_ != none; }
    /// How long it has lasted.
    std::chrono::milliseconds age(steady_time now) const noexcept {
        return lasts() ? std::chrono::duration_cast<std::chrono::milliseconds>(now - since_) : none;
    }
    /// How long to wait before the next try: longer each time.
    std::chrono::milliseconds pause() const noexcept { return pause_; }

    static constexpr std::chrono::milliseconds shortest{100};
    static constexpr std::chrono::milliseconds longest{10'000};
    static constexpr std::chrono::seconds first_log_interval{1};
    static constexpr std::chrono::seconds forgotten{30};

private:
    static constexpr std::chrono::milliseconds none{0};
    std::chrono::milliseconds pause_ = none;
    std::chrono::seconds log_interval_{};
    steady_time since_{};
    steady_time last_{};
    steady_time log_at_{};
};

} // namespace haul::core

#endif
