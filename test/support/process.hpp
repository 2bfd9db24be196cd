#ifndef HAUL_TEST_PROCESS_HPP
#define HAUL_TEST_PROCESS_HPP

#include "support/temporary_directory.hpp"
#include "support/wait.hpp"

#include <csignal>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace haul::test {

/// A child process with captured output, leader of a process group of its own. What still runs of the group
/// when the object ends is killed. Not thread-safe.
class process {
public:
    /// Called in the child as the last thing before the program is started: async-signal-safe functions only.
    using preparation = std::function<void()>;

    /// Starts command[0] (looked up in PATH) with `environment` added to that of the test. It is killed when
    /// the thread that started it is gone before it, however that ended. Throws std::system_error.
    explicit process(const std::vector<std::string>& command,
                     const std::map<std::string, std::string>& environment = {},
                     const preparation& prepare = {});
    ~process();
    process(const process&) = delete;
    process& operator=(const process&) = delete;

    pid_t pid() const { return pid_; }
    bool running();

    /// Sends a signal to the process alone, not to its children; does nothing when it has ended.
    void signal(int number);
    void kill() { signal(SIGKILL); }

    /// Waits for its end: the exit status, or 128 + the signal that ended it. Throws std::runtime_error, with
    /// what it wrote, when it has not ended within `limit`.
    int wait(std::chrono::milliseconds limit = patience);

    /// What it has written so far.
    std::string output() const;
    std::string errors() const;

private:
    class file {
    public:
        explicit file(const char* name);
        ~file();
        file(const file&) = delete;
        file& operator=(const file&) = delete;
        int descriptor() const { return descriptor_; }
        std::string content() const;

    private:
        int descriptor_;
    };

    bool reap();

    file output_{"output"};
    file errors_{"errors"};
    pid_t pid_ = -1;
    std::optional<int> status_;
};

/// `build/haul run` with the given YAML as its configuration file and more flags. When the current test has
/// failed at its end, the end of its log goes to standard error.
class worker_process {
public:
    worker_process(const std::string& dsn, const std::string& yaml,
                   const std::vector<std::string>& flags = {},
                   const std::map<std::string, std::string>& environment = {},
                   const process::preparation& prepare = {});

    ~worker_process();

    process* operator->() { return &process_; }
    process& operator*() { return process_; }

private:
    temporary_directory directory_;
    process process_;
};

/// Runs a command to its end and returns its standard output; throws std::runtime_error, with all it wrote,
/// when it fails.
std::string run(const std::vector<std::string>& command,
                const std::map<std::string, std::string>& environment = {},
                std::chrono::milliseconds limit = 120s);

} // namespace haul::test

#endif
