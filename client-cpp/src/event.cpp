#include "event.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace haul::core {

event::event() : descriptor_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    if (descriptor_ < 0)
        throw std::system_error{errno, std::generic_category(), "eventfd"};
}

event::~event() {
    ::close(descriptor_);
}

void event::set() noexcept {
    sets_.fetch_add(1, std::memory_order_release);
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the event is set.
    [[maybe_unused]] const auto written = ::write(descriptor_, &one, sizeof one);
}

void event::clear() noexcept {
    std::uint64_t count;
    [[maybe_unused]] const auto read = ::read(descriptor_, &count, sizeof count);
}

bool event::is_set() const noexcept {
    pollfd entry{descriptor_, POLLIN, 0};
    if (::poll(&entry, 1, 0) <= 0)
        return false;
    sets_.load(std::memory_order_acquire);
    return true;
}

bool event::wait_until(std::optional<steady_time> time) const {
    wait_for(-1, 0, *this, time);
    return is_set();
}

short wait_for(int descriptor, short wanted, const event& wake, std::optional<steady_time> until) {
    std::array<pollfd, 2> entries{pollfd{descriptor, wanted, 0}, pollfd{wake.descriptor(), POLLIN, 0}};
    for (;;) {
        timespec timeout{};
        if (until) {
            const auto left = std::chrono::nanoseconds{*until - std::chrono::steady_clock::now()}.count();
            if (left > 0) {
                timeout.tv_sec = left / 1'000'000'000;
                timeout.tv_nsec = left % 1'000'000'000;
            }
        }
        const int ready = ::ppoll(entries.data(), entries.size(), until ? &timeout : nullptr, nullptr);
        if (ready >= 0)
            return entries[0].revents;
        if (errno != EINTR)
            throw std::system_error{errno, std::generic_category(), "poll"};
    }
}

} // namespace haul::core
