#include "current_job.hpp"

namespace haul::core {

void current_job::begin(const job& what) {
    const std::lock_guard lock{mutex_};
    cancellation_.begin(); // here, so that nothing meant for the job before reaches this one
    worker_id_ = what.worker_id();
    id_ = what.id();
    claim_ = what.claim();
    seen_ = false;
    running_.store(true, std::memory_order_relaxed);
}

void current_job::look(std::int64_t worker_id, claims& running) {
    const std::lock_guard lock{mutex_};
    if (!running_.load(std::memory_order_relaxed) || worker_id_ != worker_id)
        return;
    if (seen_)
        running.add(id_, claim_);
    seen_ = true;
}

bool current_job::cancel(std::int64_t id, std::int32_t claim) {
    const std::lock_guard lock{mutex_};
    if (!running_.load(std::memory_order_relaxed) || id_ != id || claim_ != claim)
        return false;
    cancellation_.cancel(cancellation::level::job);
    return true;
}

} // namespace haul::core
