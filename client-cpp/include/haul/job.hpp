#ifndef HAUL_JOB_HPP
#define HAUL_JOB_HPP

#include "haul/timestamp.hpp"

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace haul {

/// An interval as the server stores it. Negative ones are refused by the server.
using interval = std::chrono::microseconds;

enum class timeout_action { retry, discard };
enum class interrupt_action { retry, fail, discard };

/// Until when a unique key is taken.
enum class unique_scope {
    finished, ///< until the job has ended
    started,  ///< until it is first checked out
};

/// What enqueue() does when a live job already has the unique key.
enum class duplicate_action {
    raise,           ///< throw duplicate_job
    return_existing, ///< return the id of that job; throw duplicate_job if another role enqueued it
};

/// Everything that an enqueuer may say about a job beside its kind and arguments. What is left out gets the
/// default of its column in haul.jobs. Values are checked by the server, which refuses a bad one with
/// haul::bad_job.
struct job_options {
    std::optional<std::string> queue;             ///< 1 to 63 characters; default "default"
    std::optional<int> priority;                  ///< 1 runs first, 32767 last; default 16383
    std::optional<timestamp> run_at;              ///< not started before; default: at once
    std::optional<interval> wait;                 ///< the same, counted from now by the server's clock
    std::optional<int> max_attempts;              ///< executions in all; default 21
    std::optional<std::string> backoff;           ///< such as "exponential(5,2)" or "constant(10)"
    std::optional<interval> timeout;              ///< the worker stops an execution after this
    std::optional<timeout_action> on_timeout;     ///< default retry
    std::optional<interval> queue_timeout;        ///< discarded when not started within this time
    std::optional<timestamp> expires_at;          ///< discarded when not started by then
    std::optional<interrupt_action> on_interrupt; ///< when its worker died; default retry
    std::optional<std::string> unique_key;    ///< at most one live job per kind and key; see unique_key.hpp
    std::optional<unique_scope> unique_until; ///< default finished
    duplicate_action on_duplicate = duplicate_action::raise; ///< return_existing: enqueue() only, never COPY
    std::optional<std::string> concurrency_key; ///< recorded; this version enforces no concurrency limits
    std::optional<int> concurrency_limit;       ///< recorded, as above; default 1
    std::optional<std::string>
        pin; ///< name of the worker to run on; counts only with pin_strict in this version
    std::optional<bool> pin_strict; ///< on no other worker; default false
    std::vector<std::string> avoid; ///< names of workers that never take the job
    std::optional<interval>
        every; ///< the job runs again so long after each end, until it is cancelled or fails for good
    std::optional<std::string> reply_to; ///< mailbox for its outcome, see feedback.hpp
    std::optional<interval> keep;        ///< how long it stays in haul.finished_jobs; 0: not at all
};

/// The arguments of a job: a JSON object, as text or as nlohmann::json. The server checks it.
class job_args {
public:
    job_args() : text_{"{}"} {}
    job_args(std::string text) : text_{std::move(text)} {}
    job_args(const char* text) : text_{text} {}
    job_args(const nlohmann::json& value); ///< throws bad_job when a string in it is not UTF-8

    const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

/// A job to be enqueued.
struct new_job {
    std::string kind; ///< 1 to 128 characters
    job_args args{};
    job_options options{};
};

/// The options with the queue put into a namespace: "mail" becomes "billing.mail", no queue
/// "billing.default"; a queue that already begins with "billing." and an empty namespace change nothing.
job_options in_namespace(const std::string& name_space, job_options options);

} // namespace haul

#endif
