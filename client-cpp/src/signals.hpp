#ifndef HAUL_SIGNALS_HPP
#define HAUL_SIGNALS_HPP

#include "event.hpp"

#include <csignal>
#include <initializer_list>
#include <optional>

namespace haul::core {

sigset_t signal_set(std::initializer_list<int> numbers) noexcept;

/// Blocks signals in the thread that made it, and in the threads that this one starts, for as long as it
/// lives.
class blocked_signals {
public:
    explicit blocked_signals(const sigset_t& blocked);
    ~blocked_signals();
    blocked_signals(const blocked_signals&) = delete;
    blocked_signals& operator=(const blocked_signals&) = delete;

    /// All that can be blocked.
    static sigset_t all() noexcept;

private:
    sigset_t before_;
};

/// Takes signals as they come, instead of their handlers.
class signal_source {
public:
    explicit signal_source(std::initializer_list<int> numbers);
    ~signal_source();
    signal_source(const signal_source&) = delete;
    signal_source& operator=(const signal_source&) = delete;

    /// Waits for one of the signals, for the event, or for the time. Returns the signal, if one came.
    std::optional<int> wait(const event& other, std::optional<steady_time> until);

private:
    blocked_signals blocked_;
    int descriptor_;
};

} // namespace haul::core

#endif
