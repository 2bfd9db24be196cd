#ifndef HAUL_WORKER_EXECUTION_HPP
#define HAUL_WORKER_EXECUTION_HPP

#include "batch.hpp"
#include "cancellation.hpp"
#include "canceller.hpp"
#include "haul/job_context.hpp"
#include "report_sink.hpp"
#include "thread_connection.hpp"

#include <atomic>
#include <spdlog/logger.h>

namespace haul::core {

/// One execution of a job, as its handler sees it.
class execution final : public job_context {
public:
    execution(job& what, cancellation& cancelled, thread_connection& db, canceller& statements,
              report_sink& reports, spdlog::logger& log);

    std::int64_t id() const noexcept override { return job_.id(); }
    std::string_view kind() const noexcept override;
    std::string_view queue() const noexcept override;
    std::string_view args_text() const noexcept override;
    const nlohmann::json& args() const override;
    int priority() const noexcept override;
    int attempt() const noexcept override;
    int max_attempts() const noexcept override;
    timestamp run_at() const noexcept override;
    timestamp enqueued_at() const noexcept override;
    std::optional<timestamp> interrupted_at() const noexcept override;
    std::string_view last_error() const noexcept override;
    std::optional<std::int64_t> workflow_id() const noexcept override;
    std::string_view cron_name() const noexcept override;
    const nlohmann::json& results() const override;
    std::string_view results_text() const override;
    std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept override {
        return deadline_;
    }
    bool cancelled() const noexcept override;
    bool wait_for(std::chrono::milliseconds duration) const override;
    int kill_descriptor() const noexcept override { return cancellation_.raised().descriptor(); }
    bool killed_by_force() const noexcept override { return cancellation_.forced(); }
    void progress(const nlohmann::json& value) const override;
    void log(log_level level, std::string_view message) const override;
    pqxx::transaction_base& transaction() const override;
    std::string to_json() const override;

    /// The handler has ended: from here on nothing is cancelled. Returns whether something was, or may still
    /// be.
    bool stop_cancelling() noexcept;

    /// Whether the handler was told to stop.
    bool told() const noexcept { return told_.load(std::memory_order_relaxed); }
    /// Whether the worker kills the job; otherwise what the handler was told was its timeout.
    bool killed() const noexcept { return cancellation_.requested(); }
    /// The job's timeout, where it has one.
    std::chrono::microseconds timeout() const noexcept;
    bool discard_on_timeout() const noexcept;

private:
    job& job_;
    cancellation& cancellation_;
    thread_connection& db_;
    canceller& statements_;
    report_sink& reports_;
    spdlog::logger& log_;
    std::optional<steady_time> deadline_;
    mutable std::optional<nlohmann::json> args_;
    mutable std::optional<std::string> results_text_;
    mutable std::optional<nlohmann::json> results_;
    mutable std::atomic<bool> told_{false};
    mutable std::optional<canceller::watch> watch_; // ends first, since it asks the rest
};

} // namespace haul::core

#endif
