#ifndef HAUL_WORKER_CHILD_PROCESS_HPP
#define HAUL_WORKER_CHILD_PROCESS_HPP

#include "program_guard.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace haul::core {

/// A file descriptor that is closed with the object.
class descriptor {
public:
    explicit descriptor(int number = -1) noexcept : number_{number} {}
    ~descriptor() { close(); }
    descriptor(descriptor&& other) noexcept : number_{other.number_} { other.number_ = -1; }
    descriptor& operator=(descriptor&& other) noexcept;

    int get() const noexcept { return number_; }
    bool is_open() const noexcept { return number_ >= 0; }
    /// Gives the number away, to whoever closes it.
    int release() noexcept { return std::exchange(number_, -1); }
    void close() noexcept;

private:
    int number_;
};

/// Path of a program that can be executed: the name itself when it has a slash, else looked up in PATH.
/// Throws haul::error when there is none, which says why.
std::string find_program(const std::string& name);

/// A program in a process group of its own, with pipes to its standard input, output and error. It inherits
/// no other file descriptor, no blocked or ignored signal, and the limit of descriptors that the worker
/// started with. Not thread-safe.
///
/// It dies with the process that made it: the kernel kills the program (PR_SET_PDEATHSIG), and the guard its
/// group. To the kernel, the parent is the thread that made it: that must outlive the program, as one does
/// which talks with it to its end.
class child_process {
public:
    /// Starts the program with these arguments, the first of which is its name, and the variables
    /// ("NAME=value") added to the environment. Throws unavailable, or std::system_error.
    child_process(const std::string& path, const std::vector<std::string>& arguments,
                  const std::vector<std::string>& variables);
    /// Kills the whole group, if the program was not waited for.
    ~child_process();
    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;

    /// Ends of the pipes, which do not block; close them when they are done.
    descriptor& input() noexcept { return input_; }
    descriptor& output() noexcept { return output_; }
    descriptor& errors() noexcept { return errors_; }
    /// Readable, for poll(), once the program has ended.
    int ended() const noexcept { return process_.get(); }

    /// Sends a signal to every process of the group.
    void signal_group(int number) noexcept;
    /// Waits for the end of the program and takes its status, as waitpid() gives it. Empty when somebody else
    /// took it, or nobody can: in a process that ignores SIGCHLD. The group has no name afterwards.
    std::optional<int> wait() noexcept;

private:
    program_guard::place guarded_;
    pid_t pid_ = -1;
    bool ended_ = false; // and waited for
    std::optional<int> status_;
    descriptor process_;
    descriptor input_;
    descriptor output_;
    descriptor errors_;
};

} // namespace haul::core

#endif
