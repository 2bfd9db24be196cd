#ifndef HAUL_BENCH_STOP_EVENT_HPP
#define HAUL_BENCH_STOP_EVENT_HPP

#include <chrono>

namespace haul::bench {

/// Tells threads to end, also those that wait. Thread-safe.
class stop_event {
public:
    stop_event();
    ~stop_event();
    stop_event(const stop_event&) = delete;
    stop_event& operator=(const stop_event&) = delete;

    void request() noexcept;
    bool requested() const noexcept { return wait_for(std::chrono::milliseconds{0}); }

    /// Waits, for as long as told; true, at once, when the end is requested.
    bool wait_for(std::chrono::milliseconds duration) const noexcept;
    /// Waits until the descriptor can be read (or has ended); false when the end is requested instead.
    bool wait_for_input(int descriptor) const noexcept;

private:
    int descriptor_;
};

} // namespace haul::bench

#endif
