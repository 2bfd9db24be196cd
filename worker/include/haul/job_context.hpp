#ifndef HAUL_JOB_CONTEXT_HPP
#define HAUL_JOB_CONTEXT_HPP

#include "haul/timestamp.hpp"

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace pqxx {
class transaction_base;
}

namespace haul {

enum class log_level { trace, debug, info, warning, error };

/// What a handler knows about the job it runs, and what it can ask of the worker. Valid while the handler
/// runs. An interface, so that a plugin needs nothing of the worker to link with, and a test can run a
/// handler on its own. One thread at a time may use it, except for cancelled() and wait_for(), which any
/// thread may call. A plugin calls its virtual functions by their places: whoever adds, removes or moves one
/// raises plugin_interface.
class job_context {
public:
    job_context(const job_context&) = delete;
    job_context& operator=(const job_context&) = delete;

    virtual std::int64_t id() const noexcept = 0;
    virtual std::string_view kind() const noexcept = 0;
    virtual std::string_view queue() const noexcept = 0;
    /// The arguments as JSON text.
    virtual std::string_view args_text() const noexcept = 0;
    /// The arguments, parsed at the first call.
    virtual const nlohmann::json& args() const = 0;
    virtual int priority() const noexcept = 0;
    /// Number of this execution: 1 = the first.
    virtual int attempt() const noexcept = 0;
    virtual int max_attempts() const noexcept = 0;
    virtual timestamp run_at() const noexcept = 0;
    virtual timestamp enqueued_at() const noexcept = 0;
    /// When an earlier execution was interrupted, if one was.
    virtual std::optional<timestamp> interrupted_at() const noexcept = 0;
    /// Text of the last failure, or empty.
    virtual std::string_view last_error() const noexcept = 0;

    bool retrying() const noexcept { return attempt() > 1; }

    /// The workflow that the job belongs to, if it does.
    virtual std::optional<std::int64_t> workflow_id() const noexcept = 0;
    /// The schedule that enqueued the job, or empty.
    virtual std::string_view cron_name() const noexcept = 0;

    /// What the jobs of the workflow returned that this one comes after: a JSON object, by their names; null
    /// for one that returned nothing. Empty for a job that comes after none. Read from the database at the
    /// first call, in the transaction if it has begun. When the connection is lost, the job is tried again
    /// without being charged an attempt. Throws haul::error.
    virtual const nlohmann::json& results() const = 0;
    /// The same as JSON text, in which numbers have all their digits.
    virtual std::string_view results_text() const = 0;

    /// When the execution's timeout passes, if it has one.
    virtual std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept = 0;

    /// True when the handler should stop: the worker is killing the job, or its timeout has passed. A handler
    /// that was told so has not done its work: what it returns as completed, or throws as an error, counts as
    /// an interruption or a timeout. Any other outcome stands.
    virtual bool cancelled() const noexcept = 0;

    /// Waits, for as long as told; false, at once, when cancelled() becomes true.
    virtual bool wait_for(std::chrono::milliseconds duration) const = 0;

    /// A file descriptor, for poll(), that becomes readable when the worker kills the job. It does not tell
    /// of the timeout: use deadline(). Never read from it.
    virtual int kill_descriptor() const noexcept = 0;
    /// The worker ends at once: do not be gentle with child processes.
    virtual bool killed_by_force() const noexcept = 0;

    /// Stores a value in haul.jobs.progress, soon; of several at short intervals only the last may be stored.
    virtual void progress(const nlohmann::json& value) const = 0;

    /// Writes a line to the worker's log, with the job's id and kind.
    virtual void log(log_level level, std::string_view message) const = 0;

    /// A transaction on a connection that belongs to this thread, begun at the first call. When the handler
    /// ends as completed, the job's completion is part of it and it is committed: the effects happen exactly
    /// once. With any other outcome it is rolled back. Do not commit or abort it. When the connection is
    /// lost, the job is tried again without being charged an attempt. Throws haul::connection_error.
    virtual pqxx::transaction_base& transaction() const = 0;

    /// The job as a JSON object: what a handler program gets on its standard input. Reads results(), and
    /// throws what it throws.
    virtual std::string to_json() const = 0;

protected:
    job_context() = default;
    ~job_context() = default;
};

} // namespace haul

#endif
