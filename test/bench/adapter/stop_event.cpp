#include "stop_event.hpp"

#include <cerrno>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace haul::bench {

stop_event::stop_event() : descriptor_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
    if (descriptor_ < 0)
        throw std::system_error(errno, std::generic_category(), "eventfd");
}

stop_event::~stop_event() {
    close(descriptor_);
}

void stop_event::request() noexcept {
    eventfd_write(descriptor_, 1);
}

bool stop_event::wait_for(std::chrono::milliseconds duration) const noexcept {
    pollfd requested{descriptor_, POLLIN, 0};
    return poll(&requested, 1, static_cast<int>(duration.count())) > 0;
}

bool stop_event::wait_for_input(int descriptor) const noexcept {
    pollfd either[]{{descriptor_, POLLIN, 0}, {descriptor, POLLIN, 0}};
    while (poll(either, 2, -1) < 0 && errno == EINTR)
        continue;
    return either[0].revents == 0;
}

} // namespace haul::bench
