#ifndef HAUL_WORKER_HPP
#define HAUL_WORKER_HPP

#include "haul/error.hpp"
#include "haul/handler_spec.hpp"
#include "haul/job_context.hpp"
#include "haul/options.hpp"
#include "haul/outcome.hpp"

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace haul {

/// Runs one job. Called by several threads at once.
using handler = std::function<outcome(const job_context&)>;

/// Takes jobs from a database and runs them with the handlers registered for their kinds; no other kind ever
/// runs. Register handlers, then either run() or start() … join(). A worker runs once.
///
/// Thread-safe: stop() and kill(), and join() once start() has returned. Everything else belongs to one
/// thread.
class worker {
public:
    /// Throws haul::error for options that contradict each other.
    explicit worker(worker_options options);
    /// Kills what still runs and waits for the threads.
    ~worker();
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;

    /// Runs jobs of a kind by calling `function`, which takes a const job_context& and returns an outcome,
    /// one of the types of an outcome, or nothing (completed). Throws haul::error when the kind is bad or has
    /// a handler.
    template <typename Function>
    worker& on(const std::string& kind, Function function) {
        if constexpr (std::is_void_v<std::invoke_result_t<Function&, const job_context&>>) {
            return add(kind, [call = std::move(function)](const job_context& job) -> outcome {
                call(job);
                return completed{};
            });
        } else {
            return add(kind,
                       [call = std::move(function)](const job_context& job) -> outcome { return call(job); });
        }
    }

    /// Runs jobs of a kind with a handler that configuration names. Throws haul::error when the kind is bad
    /// or has a handler, or when there is no such handler (a plugin that cannot be loaded, an unknown
    /// builtin).
    worker& add(const handler_spec& spec);

    /// Connects, works until told to end, and returns the exit status of a program: 0, or 128 + the number of
    /// the signal that forced the end. Call it from main() before other threads are started: it blocks
    /// SIGTERM, SIGINT and SIGHUP and takes them itself. The first TERM or INT drains; the second kills what
    /// runs, and the process may then end inside this call. HUP opens the log files anew. Throws haul::error
    /// when the database cannot be reached at the start, or the extension is not there.
    int run();

    /// Connects, registers, and returns; threads of the worker's own do the rest. Signals are left alone,
    /// except that the worker's threads block all. Throws as run() does.
    void start();
    /// Drains: takes no new jobs, gives back what has not begun, and waits for what runs as
    /// worker_options::wait_for_termination says. Returns at once. One that has not been started, or is still
    /// connecting, ends without having begun.
    void stop() noexcept;
    /// Drains, and cancels what runs: those jobs are given back as interrupted. Returns at once.
    void kill() noexcept;
    /// Waits for the end of the worker. It always waits for handlers: a thread cannot be ended from outside.
    void join();

private:
    worker& add(const std::string& kind, handler function);

    class impl;
    std::unique_ptr<impl> impl_;
};

} // namespace haul

#endif
