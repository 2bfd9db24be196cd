#include "support/process.hpp"

#include "support/failure.hpp"

#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace haul::test {

namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    for (std::string& string : strings)
        pointers.push_back(string.data());
    pointers.push_back(nullptr);
    return pointers;
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& more) {
    std::map<std::string, std::string> variables;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string text = *entry;
        const std::size_t split = text.find('=');
        variables[text.substr(0, split)] = text.substr(split + 1);
    }
    for (const auto& [name, value] : more)
        variables[name] = value;
    std::vector<std::string> merged;
    for (const auto& [name, value] : variables)
        merged.push_back(name + "=" + value);
    return merged;
}

std::vector<std::string> worker_command(const std::string& dsn, const std::string& config,
                                        const std::vector<std::string>& flags) {
    std::vector<std::string> command{HAUL_PROGRAM, "run", "--dsn", dsn, "--config", config};
    command.insert(command.end(), flags.begin(), flags.end());
    return command;
}

} // namespace

process::file::file(const char* name) : descriptor_(memfd_create(name, MFD_CLOEXEC)) {
    if (descriptor_ < 0)
        throw std::system_error(errno, std::generic_category(), "memfd_create");
}

process::file::~file() {
    close(descriptor_);
}

std::string process::file::content() const {
    std::string content;
    char buffer[4096];
    for (ssize_t got;
         (got = pread(descriptor_, buffer, sizeof buffer, static_cast<off_t>(content.size()))) > 0;)
        content.append(buffer, static_cast<std::size_t>(got));
    return content;
}

process::process(const std::vector<std::string>& command,
                 const std::map<std::string, std::string>& environment, const preparation& prepare) {
    std::vector<std::string> arguments = command;
    std::vector<std::string> variables = merged_environment(environment);
    const std::vector<char*> argv = pointers(arguments);
    const std::vector<char*> envp = pointers(variables);
    const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);

    // Between fork and exec only what is safe in a copy of one thread of many.
    pid_ = fork();
    if (pid_ == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, nullptr);
        if (dup2(input, STDIN_FILENO) >= 0 && dup2(output_.descriptor(), STDOUT_FILENO) >= 0 &&
            dup2(errors_.descriptor(), STDERR_FILENO) >= 0) {
            if (prepare)
                prepare();
            execvpe(argv[0], argv.data(), envp.data());
        }
        _exit(127);
    }
    const int error = errno;
    close(input);
    if (pid_ < 0)
        throw std::system_error(error, std::generic_category(), "fork");
    setpgid(pid_, pid_); // in both processes, so that it holds when either goes on
}

process::~process() {
    ::kill(-pid_, SIGKILL);
    if (!status_)
        waitpid(pid_, nullptr, 0);
}

bool process::reap() {
    int status = 0;
    if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_)
        status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return status_.has_value();
}

bool process::running() {
    return !reap();
}

void process::signal(int number) {
    if (running())
        ::kill(pid_, number);
}

int process::wait(std::chrono::milliseconds limit) {
    try {
        wait_until([this] { return reap(); }, "process " + std::to_string(pid_) + " ended", limit);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(std::string(error.what()) + "\n" + output() + errors());
    }
    return *status_;
}

std::string process::output() const {
    return output_.content();
}

std::string process::errors() const {
    return errors_.content();
}

worker_process::worker_process(const std::string& dsn, const std::string& yaml,
                               const std::vector<std::string>& flags,
                               const std::map<std::string, std::string>& environment,
                               const process::preparation& prepare)
    : process_(worker_command(dsn, directory_.write("haul.yaml", yaml), flags), environment, prepare) {}

worker_process::~worker_process() {
    show_if_failed("the log of worker " + std::to_string(process_.pid()), process_.errors());
}

std::string run(const std::vector<std::string>& command,
                const std::map<std::string, std::string>& environment, std::chrono::milliseconds limit) {
    process child(command, environment);
    const int status = child.wait(limit);
    if (status != 0) {
        std::string line;
        for (const std::string& argument : command)
            line += argument + ' ';
        throw std::runtime_error(line + "ended with status " + std::to_string(status) + "\n" +
                                 child.output() + child.errors());
    }
    return child.output();
}

} // namespace haul::test
