#ifndef HAUL_WORKER_CANCELLATION_HPP
#define HAUL_WORKER_CANCELLATION_HPP

#include "event.hpp"

#include <atomic>
#include <mutex>

namespace haul::core {

/// Tells the handler that runs on a thread to stop. One for each thread, used for one job after another.
/// Thread-safe.
class cancellation {
public:
    enum class level : int {
        none,
        job,    ///< this job is not the worker's any more
        worker, ///< the worker kills what runs, this job and any later one
        force,  ///< the same, at once
    };

    /// The thread begins with another job: a cancellation of the one before is over.
    void begin() noexcept;
    /// Never lowers the level.
    void cancel(level how) noexcept;

    bool requested() const noexcept { return level_.load(std::memory_order_relaxed) != level::none; }
    bool forced() const noexcept { return level_.load(std::memory_order_relaxed) == level::force; }
    /// Set while a cancellation is requested.
    const event& raised() const noexcept { return raised_; }

private:
    std::mutex changing_; // keeps the level and the event in step
    std::atomic<level> level_{level::none};
    event raised_;
};

} // namespace haul::core

#endif
