#ifndef HAUL_WORKER_EXECUTOR_HPP
#define HAUL_WORKER_EXECUTOR_HPP

#include "cancellation.hpp"
#include "current_job.hpp"
#include "ending.hpp"
#include "execution.hpp"
#include "registry.hpp"
#include "report_sink.hpp"
#include "unavailable.hpp"

namespace haul::core {

/// Runs jobs on one thread, one after another, and hands their endings on. Not thread-safe, except for
/// cancelling() and what current() says.
class executor {
public:
    executor(const registry& handlers, report_sink& reports, thread_connection db, canceller& statements,
             spdlog::logger& log);

    /// Runs a job to its end. Never throws.
    void run(job& what) noexcept;

    cancellation& cancelling() noexcept { return cancellation_; }
    current_job& current() noexcept { return current_; }

private:
    ending execute(job& what);
    ending call(const execution& context);
    ending stopped(const execution& context) const;
    ending complete_within_transaction(const job& what, const completed& how);
    ending postponed(const execution& context, const unavailable& lack);
    void pause_if_short() const;
    void log_ending(const job& what, ending& how) const;

    const registry& handlers_;
    report_sink& reports_;
    thread_connection db_;
    canceller& statements_;
    spdlog::logger& log_;
    cancellation cancellation_;
    current_job current_{cancellation_};
    std::chrono::milliseconds short_for_{
        0}; // how long to pause after a job that was given back for a shortage
};

} // namespace haul::core

#endif
