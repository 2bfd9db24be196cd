#include "program_guard.hpp"

#include "child_process.hpp"
#include "unavailable.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace haul::core {

namespace {

constexpr pid_t is_free = 0;
constexpr pid_t is_taken = -1; // by a program that is about to start

} // namespace

// More than there can be threads.
struct program_guard::table {
    std::array<std::atomic<pid_t>, 16384> groups;
    static_assert(std::atomic<pid_t>::is_always_lock_free);

    void kill_all() noexcept {
        for (const auto& group : groups) {
            if (const pid_t number = group.load(); number > 0)
                ::kill(-number, SIGKILL);
        }
    }
};

// In the children only async-signal-safe functions are called: this process may have many threads. The first
// child ends at once, so that the guard is no child of this process, which might wait for children that it
// does not know.
program_guard::program_guard() {
    const descriptor self{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))};
    if (!self.is_open())
        throw_system_error(errno, "pidfd_open");
    void* memory = ::mmap(nullptr, sizeof(table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw_system_error(errno, "mmap");
    groups_ = new (memory) table{};
    const pid_t first = ::fork();
    if (first < 0) {
        const int problem = errno;
        ::munmap(memory, sizeof(table));
        throw_system_error(problem, "cannot start the guard of programs");
    }
    if (first > 0) {
        while (::waitpid(first, nullptr, 0) < 0 && errno == EINTR) {
        }
        return;
    }
    ::setsid();
    if (::fork() != 0)
        ::_exit(0);
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    ::prctl(PR_SET_NAME, "haul-guard");
    ::dup2(self.get(), 0);
    ::closefrom(1);
    [[maybe_unused]] const int rooted = ::chdir("/");
    pollfd end{0, POLLIN, 0};
    while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
    groups_->kill_all();
    ::_exit(0);
}

program_guard::place program_guard::take() {
    static const program_guard guard;
    for (auto& group : guard.groups_->groups) {
        pid_t expected = is_free;
        if (group.compare_exchange_strong(expected, is_taken))
            return place{&group};
    }
    return place{nullptr};
}

void program_guard::place::clear() noexcept {
    if (group_)
        group_->store(is_free);
    group_ = nullptr;
}

} // namespace haul::core
