#ifndef HAUL_WORKER_CHILD_PROCESS_HPP
#define HAUL_WORKER_CHILD_PROCESS_HPP

#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
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
    void close() noexcept;

private:
    int number_;
};

/// A program in a process group of its own, with pipes to its standard input, output and error. It inherits
/// no other file descriptor, and no blocked or ignored signal. Not thread-safe.
class child_process {
public:
    /// Starts command[0], looked up in PATH, with the variables ("NAME=value") added to the environment.
    /// Throws std::system_error.
    child_process(const std::vector<std::string>& command, const std::vector<std::string>& variables);
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
