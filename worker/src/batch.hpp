#ifndef HAUL_WORKER_BATCH_HPP
#define HAUL_WORKER_BATCH_HPP

#include "session.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

namespace haul::core {

class batch;

/// A job of a batch, from its checkout until the server knows what became of it. Values are read from the
/// rows of the checkout where they lie.
class job {
public:
    std::int64_t id() const noexcept { return id_; }
    std::int32_t claim() const noexcept { return claim_; }
    /// The registration it was handed out to.
    std::int64_t worker_id() const noexcept;
    bool must_confirm_start() const noexcept;

    /// Whether the arguments are UTF-8, as all text should be.
    bool is_legible() const noexcept;

    /// A column of protocol::checkout().
    std::string_view value(int column) const noexcept;
    bool is_null(int column) const noexcept;

    /// The server knows the end of it, or owns it again. Nobody may touch the job afterwards. Thread-safe.
    void settle() noexcept;

private:
    friend class batch;
    friend class in_flight;
    batch* owner_ = nullptr;
    int row_ = 0;
    std::int32_t claim_ = 0;
    std::int64_t id_ = 0;
    std::atomic<bool> settled_{false};
};

/// The jobs of one checkout.
class batch {
public:
    /// `converted`: the server saw to it that all text is UTF-8.
    batch(result rows, std::int64_t worker_id, bool converted = true);
    batch(const batch&) = delete;
    batch& operator=(const batch&) = delete;

    std::size_t size() const noexcept { return jobs_.size(); }
    job& operator[](std::size_t index) noexcept { return jobs_[index]; }

private:
    friend class job;
    friend class in_flight;
    result rows_;
    std::int64_t worker_id_;
    bool converted_;
    std::vector<job> jobs_;
    std::atomic<std::size_t> unsettled_;
};

/// Jobs as the server names them.
struct claims {
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> numbers;

    void add(std::int64_t id, std::int32_t claim) {
        ids.push_back(id);
        numbers.push_back(claim);
    }
    void add(const job& what) { add(what.id(), what.claim()); }
};

/// Owns every batch with a job that is not settled. Thread-safe.
class in_flight {
public:
    /// The batch lives until all its jobs are settled.
    batch& add(std::unique_ptr<batch> added);
    /// Every job that is not settled.
    claims snapshot() const;
    bool empty() const;

private:
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<batch>> batches_;
};

} // namespace haul::core

#endif
