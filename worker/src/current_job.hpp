#ifndef HAUL_WORKER_CURRENT_JOB_HPP
#define HAUL_WORKER_CURRENT_JOB_HPP

#include "batch.hpp"
#include "cancellation.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>

namespace haul::core {

/// Which job a thread runs, so that this job can be told to stop when it is not the worker's any more.
class current_job {
public:
    explicit current_job(cancellation& cancelled) : cancellation_{cancelled} {}

    /// Of the thread alone.
    void begin(const job& what);
    void end() noexcept { running_.store(false, std::memory_order_relaxed); }

    /// Adds the job if it already ran at the last look, and was handed out to this registration. Thread-safe.
    void look(std::int64_t worker_id, claims& running);
    /// Tells the job to stop if it is this one. Returns whether it is. Thread-safe.
    bool cancel(std::int64_t id, std::int32_t claim);

private:
    cancellation& cancellation_;
    std::mutex mutex_; // guards what follows
    std::int64_t worker_id_ = 0;
    std::int64_t id_ = 0;
    std::int32_t claim_ = 0;
    bool seen_ = false;
    std::atomic<bool> running_{false};
};

} // namespace haul::core

#endif
