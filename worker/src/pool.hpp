#ifndef HAUL_WORKER_POOL_HPP
#define HAUL_WORKER_POOL_HPP

#include "buffer.hpp"
#include "executor.hpp"

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <spdlog/logger.h>
#include <thread>

namespace haul::core {

/// The threads that run jobs: as many as there is work for, between a least and a most number. Thread-safe.
class pool {
public:
    struct limits {
        std::size_t least;
        std::size_t most;
        std::chrono::milliseconds
            idle; ///< a thread above the least number ends after this time without a job
    };
    using executor_factory = std::function<std::unique_ptr<executor>()>;

    /// `ended` is set whenever a thread ends.
    pool(buffer& jobs, const limits& bounds, executor_factory make_executor, event& ended,
         spdlog::logger& log);
    /// Closes the buffer and waits for all threads.
    ~pool();
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;

    /// Starts threads for the jobs in the buffer: fewer, with a warning, where the system gives no more.
    void adapt();
    /// Tells every handler that runs to stop.
    void cancel(cancellation::level how);
    /// The jobs handed out to this registration that run since before the last call of this.
    claims running_since_last_look(std::int64_t worker_id);
    /// Tells those of these jobs that still run to stop; returns them.
    claims cancel(const claims& jobs);
    /// How many threads there are.
    std::size_t size() const;
    /// Waits for all threads. The buffer must be closed.
    void join();

private:
    struct member {
        std::unique_ptr<executor> runs;
        std::thread thread;
        bool ended = false;
    };
    void start_one();
    void start_up_to(std::size_t wanted);
    void reap();
    void run(member& self) noexcept;
    bool may_end();

    buffer& jobs_;
    limits bounds_;
    executor_factory make_executor_;
    event& ended_;
    spdlog::logger& log_;
    mutable std::mutex mutex_;
    std::list<member> members_;
    std::size_t size_ = 0;
    bool joining_ = false;
    steady_time retry_at_{}; // after a thread could not be started
};

} // namespace haul::core

#endif
