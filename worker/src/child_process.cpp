#include "child_process.hpp"

#include "descriptor_limit.hpp"
#include "haul/error.hpp"
#include "signals.hpp"
#include "unavailable.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace haul::core {

namespace {

struct pipe_ends {
    descriptor read;
    descriptor write;
};

// Numbers 0 to 2 are those that the child puts its ends at, and may be free in an application that embeds a
// worker.
descriptor above_standard(int number) {
    descriptor given{number};
    if (number > STDERR_FILENO)
        return given;
    descriptor above{::fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)};
    if (!above.is_open())
        throw_system_error(errno, "pipe");
    return above;
}

pipe_ends make_pipe() {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        throw_system_error(errno, "pipe");
    pipe_ends made{descriptor{ends[0]}, descriptor{ends[1]}};
    made.read = above_standard(made.read.release());
    made.write = above_standard(made.write.release());
    if (is_reserved(made.read.get()) || is_reserved(made.write.get()))
        throw unavailable{"pipe: the last descriptors are kept for the worker's own connections"};
    return made;
}

void make_nonblocking(const descriptor& pipe) {
    ::fcntl(pipe.get(), F_SETFL, O_NONBLOCK);
}

/// What a child needs to become the program. All of it is made before, since the child, a copy of one thread
/// of many that shares their memory, may call nothing but the system.
struct launch {
    const char* path;
    char* const* arguments;
    char* const* environment;
    int input;
    int output;
    int errors;
    rlimit descriptors;
    pid_t parent;
    program_guard::place* guarded;
    int problem = 0; // why there is no program
};

constexpr std::size_t size_of_signal_set = _NSIG / 8;

// By the system calls themselves: a sanitizer's own would note in the memory of the parent what the child
// does.
__attribute__((no_sanitize("address", "thread", "undefined"))) void default_all_signals() {
    const std::array<unsigned long, 8> by_default{}; // the kernel's struct sigaction
    for (int number = 1; number < _NSIG; ++number)
        ::syscall(SYS_rt_sigaction, number, by_default.data(), nullptr, size_of_signal_set);
    const std::uint64_t none = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, size_of_signal_set);
}

// In the child. It has a copy of the parent's signal handlers: none may be called there, so all are gone
// before signals are let through.
__attribute__((no_sanitize("address", "thread", "undefined"))) int become_program(void* given) {
    auto& what = *static_cast<launch*>(given);
    ::setpgid(0, 0);
    what.guarded->set(::getpid());
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != what.parent) // it died before that
        ::_exit(127);
    ::setrlimit(RLIMIT_NOFILE, &what.descriptors);
    ::syscall(SYS_dup3, what.input, STDIN_FILENO, 0);
    ::syscall(SYS_dup3, what.output, STDOUT_FILENO, 0);
    ::syscall(SYS_dup3, what.errors, STDERR_FILENO, 0);
    ::closefrom(STDERR_FILENO + 1);
    default_all_signals();
    ::execve(what.path, what.arguments, what.environment);
    what.problem = errno;
    ::_exit(127);
}

struct started {
    pid_t pid;
    descriptor process; // readable when the program has ended
};

// As posix_spawn() does it, which can set neither a parent-death signal nor a limit: the child borrows the
// memory of this thread, which waits until the child has become the program, or has ended.
started start(launch& what, const std::string& name) {
    constexpr std::size_t stack_size = 128 * 1024;
    const std::unique_ptr<std::byte[]> stack{new std::byte[stack_size]};
    const auto top = (reinterpret_cast<std::uintptr_t>(stack.get()) + stack_size) & ~std::uintptr_t{63};
    int process = -1;
    pid_t pid;
    int problem;
    {
        sigset_t all;
        sigfillset(&all);
        const blocked_signals none{all};
        pid = ::clone(become_program, reinterpret_cast<void*>(top),
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &what, &process, nullptr, nullptr);
        problem = pid < 0 ? errno : what.problem;
    }
    started made{pid, descriptor{process}};
    if (problem == 0)
        return made;
    what.guarded->clear();
    if (pid > 0)
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
    throw_system_error(problem, "cannot start \"" + name + '"');
}

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

// 0, or the error number that says why the file cannot be executed.
int why_not_executable(const std::string& file) {
    struct stat about {};
    if (::stat(file.c_str(), &about) != 0)
        return errno;
    if (S_ISDIR(about.st_mode))
        return EISDIR;
    return ::faccessat(AT_FDCWD, file.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
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

std::string find_program(const std::string& name) {
    if (name.find('/') != std::string::npos) {
        if (const int problem = why_not_executable(name))
            throw error{"\"" + name + "\" cannot be executed: " + std::generic_category().message(problem)};
        return name;
    }
    const char* variable = std::getenv("PATH");
    const std::string path = variable ? variable : "/usr/local/bin:/usr/bin:/bin";
    std::string found_but;
    for (std::size_t begin = 0; begin <= path.size();) {
        const auto end = std::min(path.find(':', begin), path.size());
        const std::string directory = path.substr(begin, end - begin);
        const std::string file = (directory.empty() ? "." : directory) + '/' + name;
        const int problem = why_not_executable(file);
        if (problem == 0)
            return file;
        if (problem != ENOENT && problem != ENOTDIR && found_but.empty())
            found_but = ": " + file + ": " + std::generic_category().message(problem);
        begin = end + 1;
    }
    throw error{"there is no program \"" + name + "\" in PATH (" + path + ')' + found_but};
}

child_process::child_process(const std::string& path, const std::vector<std::string>& arguments,
                             const std::vector<std::string>& variables)
    : guarded_{program_guard::take()} {
    auto in = make_pipe();
    auto out = make_pipe();
    auto err = make_pipe();
    const auto environment = merged_environment(variables);
    const auto argument_list = pointers(arguments);
    const auto environment_list = pointers(environment);
    launch what{path.c_str(),    argument_list.data(), environment_list.data(),    in.read.get(),
                out.write.get(), err.write.get(),      program_descriptor_limit(), ::getpid(),
                &guarded_};
    auto [pid, process] = start(what, arguments.front());
    pid_ = pid;
    process_ = std::move(process);
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
    // The guard needs the number no longer than this process does, but until the program has ended.
    pollfd end{process_.get(), POLLIN, 0};
    while (!ended_ && ::poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
    guarded_.clear();
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
