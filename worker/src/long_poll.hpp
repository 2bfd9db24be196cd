#ifndef HAUL_WORKER_LONG_POLL_HPP
#define HAUL_WORKER_LONG_POLL_HPP

#include "cancel_request.hpp"
#include "event.hpp"
#include "session.hpp"

#include <cstdint>
#include <optional>

namespace haul::core {

/// haul.checkout_wait(): an idle worker waits for jobs in the server instead of here. While the call is
/// outstanding its session can run nothing else. Not thread-safe.
class long_poll {
public:
    /// `wake` is set when cancel() has done its part; it must outlive this.
    explicit long_poll(event& wake) : wake_{wake} {}

    void begin(session& db, std::int64_t worker, std::size_t max_jobs, std::chrono::microseconds wait);
    bool outstanding() const noexcept { return outstanding_; }
    std::size_t max_jobs() const noexcept { return max_jobs_; }

    /// Ends the call soon.
    void cancel(const session& db);

    /// What has come of the call. Nothing while it is outstanding, and when it was cancelled, by us or by
    /// others: then it may have handed out jobs all the same. Else rows as those of a checkout. Throws what
    /// session::query() throws, and connection_error when an answer is overdue.
    std::optional<result> answer(session& db);
    /// When it will be.
    steady_time overdue_at() const noexcept { return overdue_at_; }

    /// The connection is lost. Until the time that this returns the server may not know, and hand out jobs.
    steady_time forget() noexcept;

    /// Whether a request to cancel still blocks the thread that makes it.
    bool cancelling() const noexcept { return cancel_ && !cancel_->delivered(); }
    /// Whether only that is waited for: the answer has been read.
    bool settling() const noexcept { return outstanding_ && answered_; }

private:
    std::optional<result> receive(session& db);

    event& wake_;
    bool outstanding_ = false;
    bool answered_ = false;
    std::size_t max_jobs_ = 0;
    steady_time ends_at_{};
    steady_time overdue_at_{};
    std::optional<cancel_request> cancel_;
};

} // namespace haul::core

#endif
