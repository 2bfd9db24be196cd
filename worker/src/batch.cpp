#include "batch.hpp"

#include "protocol.hpp"
#include "text.hpp"

#include <algorithm>

namespace haul::core {

std::int64_t job::worker_id() const noexcept {
    return owner_->worker_id_;
}

bool job::must_confirm_start() const noexcept {
    return value(protocol::column::confirm_start)[0] != '\0';
}

bool job::is_legible() const noexcept {
    return owner_->converted_ || is_utf8(value(protocol::column::args));
}

std::string_view job::value(int column) const noexcept {
    return owner_->rows_(row_, column);
}

bool job::is_null(int column) const noexcept {
    return owner_->rows_.is_null(row_, column);
}

void job::settle() noexcept {
    settled_.store(true, std::memory_order_relaxed);
    // The owner may delete the batch, and this job with it, from here on.
    owner_->unsettled_.fetch_sub(1, std::memory_order_release);
}

batch::batch(result rows, std::int64_t worker_id, bool converted)
    : rows_{std::move(rows)},
      worker_id_{worker_id},
      converted_{converted},
      jobs_(static_cast<std::size_t>(rows_.rows())),
      unsettled_{jobs_.size()} {
    int row = 0;
    for (auto& job : jobs_) {
        job.owner_ = this;
        job.row_ = row;
        job.id_ = read_int64(rows_(row, protocol::column::id));
        job.claim_ = read_int32(rows_(row, protocol::column::claim));
        ++row;
    }
}

batch& in_flight::add(std::unique_ptr<batch> added) {
    const std::lock_guard lock{mutex_};
    const auto done = [](const auto& one) { return one->unsettled_.load(std::memory_order_acquire) == 0; };
    batches_.erase(std::remove_if(batches_.begin(), batches_.end(), done), batches_.end());
    batches_.push_back(std::move(added));
    return *batches_.back();
}

claims in_flight::snapshot() const {
    const std::lock_guard lock{mutex_};
    claims open;
    for (const auto& one : batches_) {
        for (const auto& job : one->jobs_) {
            if (!job.settled_.load(std::memory_order_relaxed))
                open.add(job);
        }
    }
    return open;
}

bool in_flight::empty() const {
    const std::lock_guard lock{mutex_};
    return std::all_of(batches_.begin(), batches_.end(),
                       [](const auto& one) { return one->unsettled_.load(std::memory_order_acquire) == 0; });
}

} // namespace haul::core
