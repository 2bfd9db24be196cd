#ifndef HAUL_WORKER_FETCH_SCHEDULE_HPP
#define HAUL_WORKER_FETCH_SCHEDULE_HPP

#include "event.hpp"

#include <chrono>
#include <optional>
#include <random>

namespace haul::core {

/// When to look for jobs: at once after a look that found all it asked for, otherwise when a notification
/// comes, when the next known job is due, and every polling interval. Not thread-safe.
class fetch_schedule {
public:
    fetch_schedule(std::chrono::milliseconds polling_interval, double jitter)
        : polling_interval_{polling_interval}, jitter_{jitter} {}

    /// There may be jobs.
    void look_now() noexcept { look_ = true; }
    /// A checkout asked for so many jobs and got so many.
    void looked(steady_time now, std::size_t asked, std::size_t got);
    /// The server's answer to when the next job is due; nothing: none is to come.
    void next_due(steady_time now, std::optional<std::chrono::microseconds> delay);

    bool should_look(steady_time now);
    /// It is unknown when the next job is due, and things are quiet enough to ask.
    bool should_ask_next_due(steady_time now) const;
    /// When one of these may change without new information; nothing: at once.
    std::optional<steady_time> wake_at() const;

private:
    std::chrono::milliseconds polling_interval_;
    double jitter_;
    std::mt19937_64 random_{std::random_device{}()};

    bool look_ = true;
    steady_time poll_at_{};
    std::optional<steady_time> due_at_;
    std::optional<steady_time> ask_at_;
    int vain_ = 0; // looks in a row that found nothing although a job was said to be due
};

} // namespace haul::core

#endif
