#include "signals.hpp"

#include <cerrno>
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>

namespace haul::core {

sigset_t signal_set(std::initializer_list<int> numbers) noexcept {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : numbers)
        sigaddset(&set, number);
    return set;
}

blocked_signals::blocked_signals(const sigset_t& blocked) {
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
}

blocked_signals::~blocked_signals() {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

sigset_t blocked_signals::all() noexcept {
    sigset_t set;
    sigfillset(&set);
    // An error of the program itself must end it, on whatever thread.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP})
        sigdelset(&set, fault);
    return set;
}

signal_source::signal_source(std::initializer_list<int> numbers) : blocked_{signal_set(numbers)} {
    const auto set = signal_set(numbers);
    descriptor_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (descriptor_ < 0)
        throw std::system_error{errno, std::generic_category(), "signalfd"};
}

signal_source::~signal_source() {
    ::close(descriptor_);
}

std::optional<int> signal_source::wait(const event& other, std::optional<steady_time> until) {
    wait_for(descriptor_, POLLIN, other, until);
    signalfd_siginfo info;
    if (::read(descriptor_, &info, sizeof info) == sizeof info)
        return static_cast<int>(info.ssi_signo);
    return std::nullopt;
}

} // namespace haul::core
