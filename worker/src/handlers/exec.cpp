#include "handlers/handlers.hpp"

#include "child_process.hpp"
#include "event.hpp"
#include "haul/error.hpp"
#include "text.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace haul::core {

namespace {

// Exit statuses with a meaning of their own; every other but 0 is a failed attempt.
constexpr int exit_snooze = 75; // EX_TEMPFAIL of sysexits.h
constexpr int exit_discard = 100;
constexpr int exit_fail_for_good = 101;

constexpr std::size_t largest_output = 1024 * 1024;
constexpr std::size_t error_tail = 4096;
constexpr std::chrono::seconds default_snooze{60};
constexpr std::chrono::seconds term_to_kill{5};

std::vector<std::string> variables_of(const job_context& job) {
    const auto set = [](const char* name, std::string_view value) {
        return std::string{name} + '=' + std::string{value};
    };
    return {
        set("HAUL_JOB_ID", std::to_string(job.id())),
        set("HAUL_KIND", job.kind()),
        set("HAUL_QUEUE", job.queue()),
        set("HAUL_PRIORITY", std::to_string(job.priority())),
        set("HAUL_ATTEMPT", std::to_string(job.attempt())),
        set("HAUL_MAX_ATTEMPTS", std::to_string(job.max_attempts())),
        set("HAUL_RUN_AT", in_utc(job.run_at())),
        set("HAUL_ENQUEUED_AT", in_utc(job.enqueued_at())),
        set("HAUL_INTERRUPTED_AT", job.interrupted_at() ? in_utc(*job.interrupted_at()) : ""),
        set("HAUL_WORKFLOW_ID", job.workflow_id() ? std::to_string(*job.workflow_id()) : ""),
        set("HAUL_CRON_NAME", job.cron_name()),
    };
}

/// A conversation with a program until it ends, or is ended.
class conversation {
public:
    conversation(const std::string& path, const std::vector<std::string>& command, const job_context& job)
        : job_{job}, input_{job.to_json() + '\n'}, program_{path, command, variables_of(job)} {}

    /// Returns the program's status, as waitpid() gives it, if it can be had.
    std::optional<int> run() {
        while (!has_ended_)
            step();
        // What it started and left behind may hold the pipes open: read what is there and no more.
        receive(program_.output(), output_, true);
        receive(program_.errors(), errors_, false);
        if (terminated_at_)
            program_.signal_group(SIGKILL);
        return program_.wait();
    }

    /// Whether the program was told to end.
    bool terminated() const noexcept { return terminated_at_.has_value(); }
    std::string_view output() const noexcept { return output_; }
    bool output_too_large() const noexcept { return output_too_large_; }
    std::string_view errors() const noexcept { return tail(errors_, error_tail); }

private:
    void step() {
        std::array<pollfd, 5> entries{
            pollfd{program_.ended(), POLLIN, 0},
            pollfd{program_.output().get(), POLLIN, 0},
            pollfd{program_.errors().get(), POLLIN, 0},
            pollfd{program_.input().get(), POLLOUT, 0},
            pollfd{killed_ ? -1 : job_.kill_descriptor(), POLLIN, 0},
        };
        if (::poll(entries.data(), entries.size(), milliseconds_to_wait()) < 0 && errno != EINTR)
            throw std::system_error{errno, std::generic_category(), "poll"};
        has_ended_ = entries[0].revents != 0;
        if (entries[1].revents)
            receive(program_.output(), output_, true);
        if (entries[2].revents)
            receive(program_.errors(), errors_, false);
        if (entries[3].revents)
            send();
        if (!has_ended_)
            end_if_cancelled();
    }

    // A forced end can follow a gentle one without a sign on the descriptor.
    int milliseconds_to_wait() const {
        std::optional<steady_time> until = job_.deadline();
        if (terminated_at_)
            until = *terminated_at_ + term_to_kill;
        const auto longest = std::chrono::milliseconds{terminated_at_ ? 100 : 60'000};
        if (!until)
            return static_cast<int>(longest.count());
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(*until - std::chrono::steady_clock::now());
        return static_cast<int>(std::clamp(left, std::chrono::milliseconds{0}, longest).count());
    }

    void end_if_cancelled() {
        if (!job_.cancelled())
            return;
        killed_ = true;
        const auto now = std::chrono::steady_clock::now();
        if (!terminated_at_) {
            terminated_at_ = now;
            program_.signal_group(SIGTERM);
        }
        if (job_.killed_by_force() || now >= *terminated_at_ + term_to_kill)
            program_.signal_group(SIGKILL);
    }

    // SIGPIPE, for a program that does not read its input, is blocked on the worker's threads.
    void send() {
        const auto written = ::write(program_.input().get(), input_.data() + sent_, input_.size() - sent_);
        if (written > 0)
            sent_ += static_cast<std::size_t>(written);
        const bool refused = written < 0 && errno != EAGAIN && errno != EINTR; // it does not read its input
        if (refused || sent_ == input_.size())
            program_.input().close();
    }

    void receive(descriptor& from, std::string& to, bool limited) {
        std::array<char, 16384> bytes;
        while (from.is_open()) {
            const auto count = ::read(from.get(), bytes.data(), bytes.size());
            if (count < 0 && errno == EINTR)
                continue;
            if (count < 0 && errno == EAGAIN)
                return;
            if (count <= 0)
                return from.close();
            to.append(bytes.data(), static_cast<std::size_t>(count));
            if (limited && to.size() > largest_output) {
                output_too_large_ = true;
                to.clear();
            } else if (!limited && to.size() > 16 * error_tail) {
                to.erase(0, to.size() - error_tail);
            }
        }
    }

    const job_context& job_;
    std::string input_;
    child_process program_;
    std::size_t sent_ = 0;
    std::string output_;
    std::string errors_;
    bool output_too_large_ = false;
    bool has_ended_ = false;
    bool killed_ = false;
    std::optional<steady_time> terminated_at_;
};

/// Whether the text is JSON, with numbers of any size: the library refuses those that no double holds, so it
/// is given a copy with at most two digits in a row, which follows the grammar exactly when the text does.
bool is_json(std::string_view text) {
    std::string shape;
    shape.reserve(text.size());
    bool in_string = false, escaped = false;
    std::size_t digits = 0;
    for (const char c : text) {
        digits = !in_string && c >= '0' && c <= '9' ? digits + 1 : 0;
        if (digits <= 2)
            shape += c;
        if (c == '"' && !escaped)
            in_string = !in_string;
        escaped = in_string && c == '\\' && !escaped;
    }
    return nlohmann::json::accept(shape);
}

// What the program did is done: when its output cannot be kept, its reader learns that from the result.
completed completed_with(const conversation& talk, const job_context& job) {
    if (talk.output_too_large()) {
        const std::string note = "the result is not stored: standard output is longer than 1 MB";
        job.log(log_level::warning, note);
        return completed{nlohmann::json(note)};
    }
    const auto text = tail(talk.output(), largest_output); // without the newlines at its end
    if (text.empty())
        return completed{};
    if (is_json(text))
        return completed::with_text(std::string{text});
    return completed{nlohmann::json(to_utf8(text))};
}

std::chrono::milliseconds snooze_delay(std::string_view output) {
    const auto number = nlohmann::json::parse(output, nullptr, false);
    if (!number.is_number() || !(number.get<double>() >= 0) || number.get<double>() > 1e9)
        return default_snooze;
    return std::chrono::milliseconds{static_cast<std::int64_t>(number.get<double>() * 1000)};
}

std::string message(const std::string& what, std::string_view errors) {
    return errors.empty() ? what : what + ": " + std::string{errors};
}

std::string ending_of(std::optional<int> status) {
    if (!status)
        return "the exit status is unknown: the process of the worker ignores SIGCHLD, or something else in "
               "it "
               "waits for its children";
    return WIFEXITED(*status) ? "exit status " + std::to_string(WEXITSTATUS(*status))
                              : "killed by signal " + std::to_string(WTERMSIG(*status));
}

outcome run_program(const std::string& path, const std::vector<std::string>& command,
                    const job_context& job) {
    conversation talk{path, command, job};
    const auto status = talk.run();
    const int code = status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
    const std::string reason = message(ending_of(status), talk.errors());
    if (code == exit_snooze)
        return snooze{snooze_delay(talk.output())};
    if (code == exit_discard)
        return discard{reason};
    if (code == exit_fail_for_good)
        return fail_for_good{reason};
    if (talk.terminated()) {
        job.log(log_level::info, "the program was told to end: " + reason);
        return completed{}; // which the worker takes for what stopped it: a timeout, or an interruption
    }
    if (code == 0)
        return completed_with(talk, job);
    return retry{reason};
}

} // namespace

handler make_exec_handler(std::vector<std::string> command) {
    if (command.empty() || command.front().empty())
        throw error{"an exec handler needs a program"};
    std::string path = find_program(command.front());
    return [path = std::move(path), command = std::move(command)](const job_context& job) {
        return run_program(path, command, job);
    };
}

} // namespace haul::core
