#ifndef HAUL_EVENT_HPP
#define HAUL_EVENT_HPP

#include <atomic>
#include <chrono>
#include <optional>

namespace haul::core {

using steady_time = std::chrono::steady_clock::time_point;

/// A flag that poll() can wait for. set(), clear() and waiting are thread-safe. Who finds it set, by is_set()
/// or wait_until(), sees all that was written before it was set.
class event {
public:
    event();
    ~event();
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    void set() noexcept;
    void clear() noexcept;
    bool is_set() const noexcept;
    /// Readable while the event is set.
    int descriptor() const noexcept { return descriptor_; }

    /// Waits until the event is set or the time has come; returns whether it is set.
    bool wait_until(std::optional<steady_time> time) const;

private:
    int descriptor_;
    std::atomic<unsigned> sets_{0}; // orders memory, which the descriptor alone promises to nobody
};

/// Waits until a descriptor has one of the wanted events, the event is set, or the time has come. Returns the
/// events of the descriptor that happened. A negative descriptor never does.
short wait_for(int descriptor, short wanted, const event& wake, std::optional<steady_time> until);

} // namespace haul::core

#endif
