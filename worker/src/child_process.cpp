#include "child_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace haul::core {

namespace {

[[noreturn]] void fail(int code, const std::string& what) {
    throw std::system_error{code, std::generic_category(), what};
}

struct pipe_ends {
    descriptor read;
    descriptor write;
};

pipe_ends make_pipe() {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        fail(errno, "pipe");
    return {descriptor{ends[0]}, descriptor{ends[1]}};
}

void make_nonblocking(const descriptor& pipe) {
    ::fcntl(pipe.get(), F_SETFL, O_NONBLOCK);
}

struct spawn_actions {
    spawn_actions() { posix_spawn_file_actions_init(&value); }
    ~spawn_actions() { posix_spawn_file_actions_destroy(&value); }
    spawn_actions(const spawn_actions&) = delete;
    spawn_actions& operator=(const spawn_actions&) = delete;
    posix_spawn_file_actions_t value;
};

struct spawn_attributes {
    spawn_attributes() {
        posix_spawnattr_init(&value);
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&value, &none);
        posix_spawnattr_setsigdefault(&value, &all);
        posix_spawnattr_setpgroup(&value, 0);
        posix_spawnattr_setflags(&value,
                                 POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    ~spawn_attributes() { posix_spawnattr_destroy(&value); }
    spawn_attributes(const spawn_attributes&) = delete;
    spawn_attributes& operator=(const spawn_attributes&) = delete;
    posix_spawnattr_t value;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
    std::vector<char*> list;
    for (const auto& string : strings)
        list.push_back(const_cast<char*>(string.c_str()));
    list.push_back(nullptr);
    return list;
}

// The environment with the variables instead of any of the same name.
std::vector<std::string> merged_environment(const std::vector<std::string>& variables) {
    std::vector<std::string> merged = variables;
    for (char** entry = environ; *entry; ++entry) {
        const std::string_view name =
            std::string_view{*entry}.substr(0, std::string_view{*entry}.find('=') + 1);
        bool replaced = false;
        for (const auto& variable : variables)
            replaced = replaced || variable.compare(0, name.size(), name) == 0;
        if (!replaced)
            merged.emplace_back(*entry);
    }
    return merged;
}

} // namespace

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

void descriptor::close() noexcept {
    if (number_ >= 0)
        ::close(number_);
    number_ = -1;
}

child_process::child_process(const std::vector<std::string>& command,
                             const std::vector<std::string>& variables) {
    auto in = make_pipe();
    auto out = make_pipe();
    auto err = make_pipe();
    spawn_actions actions;
    posix_spawn_file_actions_adddup2(&actions.value, in.read.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions.value, out.write.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions.value, err.write.get(), STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions.value, STDERR_FILENO + 1);
    const spawn_attributes attributes;
    const auto environment = merged_environment(variables);
    const int problem = posix_spawnp(&pid_, command.front().c_str(), &actions.value, &attributes.value,
                                     pointers(command).data(), pointers(environment).data());
    if (problem != 0)
        fail(problem, "cannot start \"" + command.front() + "\"");
    process_ = descriptor{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))};
    if (!process_.is_open()) {
        const int code = errno;
        signal_group(SIGKILL);
        wait();
        fail(code, "pidfd_open");
    }
    input_ = std::move(in.write);
    output_ = std::move(out.read);
    errors_ = std::move(err.read);
    for (const auto* pipe : {&input_, &output_, &errors_})
        make_nonblocking(*pipe);
}

child_process::~child_process() {
    if (ended_)
        return;
    signal_group(SIGKILL);
    wait();
}

// Until it is waited for, the program keeps its process id, and so the group its name, even when it has
// ended.
void child_process::signal_group(int number) noexcept {
    if (!ended_)
        ::kill(-pid_, number);
}

std::optional<int> child_process::wait() noexcept {
    while (!ended_) {
        int status = 0;
        const pid_t found = ::waitpid(pid_, &status, 0);
        if (found == pid_)
            status_ = status;
        ended_ = found == pid_ || errno != EINTR;
    }
    return status_;
}

} // namespace haul::core
