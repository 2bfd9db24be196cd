#ifndef HAUL_FEEDBACK_HPP
#define HAUL_FEEDBACK_HPP

#include "haul/connection.hpp"
#include "haul/enqueue.hpp"
#include "haul/error.hpp"
#include "haul/timestamp.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <pqxx/pqxx>
#include <string>

namespace haul {

enum class end_state { completed, failed, discarded, cancelled };

/// How a job ended, or a run of a periodic one.
struct reply {
    std::int64_t id = 0; ///< an open mailbox tells each once
    std::int64_t job_id = 0;
    int claim = 0;   ///< which execution of the job it was; 0: it ended without one
    int attempt = 0; ///< number of the last attempt; 0: there was none
    end_state state = end_state::completed;
    std::string result_text; ///< what the handler returned, as JSON text; empty: nothing
    std::string error;       ///< why it did not succeed; empty when it did
    bool repeats = false;    ///< a run of a periodic job, of which there will be more
    timestamp finished_at;   ///< by the server's clock

    bool succeeded() const noexcept { return state == end_state::completed; }
    nlohmann::json result() const; ///< null: nothing
};

/// What is called when a job ends. Any may be empty.
struct callbacks {
    std::function<void(const reply&)> on_success{}; ///< the job completed
    std::function<void(const reply&)> on_error{};   ///< it ended otherwise, after its last attempt
    std::function<void(const reply&)> on_run{}; ///< a run of a periodic job is over, and the next will come
};

struct mailbox_options {
    /// For jobs that nobody waits for in this process: those enqueued before it was started, above all.
    /// Outcomes for which there is no callback are dropped.
    callbacks others{};
    /// Told what went wrong: a callback threw (`of` is what it was called for), or else (nullptr) the
    /// database is away or sent an outcome that this version cannot read. What it throws is ignored.
    std::function<void(const std::exception& what, const reply* of)> on_failure{};
    /// How often it looks although nothing was announced; each time varies by a tenth. At least 1 ms; more
    /// than a day counts as a day. Outcomes of prepared transactions (PREPARE TRANSACTION) are announced to
    /// nobody and wait for it.
    std::chrono::milliseconds polling_interval{5000};
    /// Whether it LISTENs. Not through a pooler in transaction mode: then it looks at each interval only.
    bool listen = true;
    std::string application_name =
        "haul mailbox"; ///< what pg_stat_activity shows, unless the DSN says otherwise
};

/// A job that was enqueued, and its end.
struct awaited_job {
    std::int64_t id = 0;
    std::future<reply> end;
};

/// Receives the outcomes of jobs that are enqueued with its name as their reply_to.
///
///     haul::mailbox mail{"dbname=app", "orders-1"};
///     auto job = mail.enqueue("charge", R"({"order": 7})");
///     if (job.end.get().succeeded()) …
///
/// Or in your own transaction: set job_options::reply_to to name(), call expect() with the id, and commit.
///
/// The jobs must be enqueued by the role of the mailbox's DSN: it gets the outcomes of no others.
///
/// It has a connection and a thread of its own, on which the callbacks are called, one at a time, those of
/// one job in the order in which its outcomes were written. Callbacks may run before the constructor has
/// returned. A future is fulfilled after its callbacks have returned, so a callback must never wait for a
/// future of the same mailbox. A callback may enqueue, expect and forget.
///
/// No transaction is open while a callback runs. An outcome is taken out of the table after it was told, up
/// to a hundred at a time, so no crash loses one; one that was told just before its process died, or before a
/// mailbox was closed whose server is silent, is told again to whom opens the mailbox next, as one of a job
/// that nobody waits for. As long as a mailbox is open it tells each once. An exception of a callback
/// concerns nobody else.
///
/// One process at a time should use a mailbox: another would take outcomes that this one waits for.
/// When the connection is lost it makes a new one, after growing pauses, and looks at once.
///
/// Thread-safe: all but the destructor, which must not be called by a callback. Hold no lock that a callback
/// needs while you call the destructor or forget(), which wait for callbacks.
class mailbox {
public:
    /// Connects, and begins to take outcomes. Throws haul::error: connection_error, not_installed,
    /// permission_denied without the rights of haul.grant_producer(), bad_job for a name that is not 1 to 255
    /// characters of UTF-8 and for a polling interval below 1 ms.
    mailbox(std::string dsn, std::string name, mailbox_options options = {});
    /// Returns when the callback that is running has returned, and at the latest a second after, when the
    /// server is silent. Futures whose jobs have not ended get a haul::error; their outcomes wait in the
    /// table.
    ~mailbox();
    mailbox(const mailbox&) = delete;
    mailbox& operator=(const mailbox&) = delete;

    const std::string& name() const noexcept;

    /// Enqueues a job with this mailbox as its reply_to, in a transaction of its own on a second connection.
    /// For a periodic job the future is of its last end. Throws as haul::enqueue(), bad_job also for
    /// on_duplicate = return_existing: the job may have another mailbox.
    awaited_job enqueue(const std::string& kind, const job_args& args = {}, job_options options = {},
                        callbacks told = {});

    /// Waits for the end of a job. To be called before the transaction commits that enqueued it; what has
    /// been told by then is not told again. A job may be expected several times. Jobs of a workflow get new
    /// ids by haul.retry_workflow(): their outcomes are then those of jobs that nobody waits for.
    std::future<reply> expect(std::int64_t job_id, callbacks told = {});
    /// Does not wait for it any more: its transaction was rolled back, for example. Its futures get a
    /// haul::error. When the job is being told of, it returns after that: no callback given for it runs any
    /// more, unless one of them called this.
    void forget(std::int64_t job_id);

private:
    class impl;
    std::unique_ptr<impl> impl_;
};

/// What CALL haul.wait_for() says of a job.
struct job_state {
    /// completed, failed, discarded or cancelled; ready, running or waiting when the time was over first;
    /// unknown when it ended and is not kept.
    std::string state;
    std::string result_text; ///< JSON text; empty: none
    std::string error;       ///< its last error, or empty

    bool succeeded() const noexcept { return state == "completed"; }
    nlohmann::json result() const; ///< null: none
    /// Whether the job, or the run of a periodic one, is over.
    bool ended() const noexcept { return state != "ready" && state != "running" && state != "waiting"; }
};

/// Waits on the server until a job has ended, at most for the given time, which counts as a year when it is
/// longer. No transaction may be open on the
/// connection. Works through a pooler in transaction mode. Throws haul::error (42704) when there is no such
/// job, or it was enqueued by another role and haul.jobs may not be read; bad_job for a negative time.
job_state wait_for(pqxx::connection& connection, std::int64_t job_id,
                   std::chrono::milliseconds timeout = std::chrono::seconds{30});

} // namespace haul

#endif
