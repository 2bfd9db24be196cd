#include "long_poll.hpp"

#include "protocol.hpp"

#include <algorithm>

namespace haul::core {

namespace {

// A server that has not answered so long after it should have never will.
constexpr std::chrono::seconds patience{10};
constexpr std::chrono::seconds patience_when_cancelled{2};

constexpr const char* query_canceled = "57014";

} // namespace

void long_poll::begin(session& db, std::int64_t worker, std::size_t max_jobs,
                      std::chrono::microseconds wait) {
    protocol::begin_checkout_wait(db, worker, static_cast<int>(max_jobs), wait);
    outstanding_ = true;
    answered_ = false;
    max_jobs_ = max_jobs;
    ends_at_ = std::chrono::steady_clock::now() + wait;
    overdue_at_ = ends_at_ + patience;
}

void long_poll::cancel(const session& db) {
    if (cancel_)
        return;
    cancel_.emplace(db, wake_);
    overdue_at_ = std::min(overdue_at_, std::chrono::steady_clock::now() + patience_when_cancelled);
}

std::optional<result> long_poll::answer(session& db) {
    std::optional<result> jobs;
    if (!answered_)
        jobs = receive(db);
    // A request that is still on its way would cancel whatever the session runs next.
    if (!answered_ || cancelling()) {
        if (std::chrono::steady_clock::now() >= overdue_at_)
            throw connection_error{"the server does not answer", "08006"};
        return std::nullopt;
    }
    outstanding_ = false;
    if (!jobs || cancel_)
        return std::nullopt;
    return protocol::checked_out(db, *jobs);
}

std::optional<result> long_poll::receive(session& db) {
    try {
        auto jobs = db.answer();
        answered_ = jobs.has_value();
        return jobs;
    } catch (const connection_error&) {
        throw;
    } catch (const error& failure) {
        answered_ = true;
        if (failure.sqlstate() == query_canceled || cancel_)
            return std::nullopt;
        outstanding_ = false;
        throw;
    }
}

steady_time long_poll::forget() noexcept {
    outstanding_ = false;
    return ends_at_ + std::chrono::seconds{1};
}

} // namespace haul::core
