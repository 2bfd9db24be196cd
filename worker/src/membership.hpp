#ifndef HAUL_WORKER_MEMBERSHIP_HPP
#define HAUL_WORKER_MEMBERSHIP_HPP

#include "batch.hpp"
#include "event.hpp"
#include "session.hpp"

#include <algorithm>
#include <spdlog/logger.h>
#include <string>

namespace haul::core {

/// The worker's row in haul.workers: registering, heartbeats with the maintenance that goes with them, and
/// the end. Not thread-safe.
class membership {
public:
    membership(std::string name, std::string options, std::chrono::milliseconds heartbeat_interval,
               spdlog::logger& log)
        : name_{std::move(name)},
          options_{std::move(options)},
          heartbeat_interval_{heartbeat_interval},
          log_{log} {}

    /// Id of the row; 0 when there is none.
    std::int64_t id() const noexcept { return id_; }

    void enter(session& db);
    /// Gives enough signs of life for the server's haul.worker_timeout; says so when more than were asked
    /// for.
    void adapt(session& db);
    /// Returns false when the row is gone.
    bool beat(session& db, std::size_t busy, bool draining);
    /// When the next heartbeat is due.
    steady_time next_beat() const noexcept { return next_beat_; }
    /// What is due of looks at other workers and of maintenance.
    void look_after_others(session& db);
    /// When the next of these is due.
    steady_time next_look() const noexcept { return std::min(next_look_, next_maintenance_); }
    /// One pass of maintenance; what goes wrong in it is logged and is nobody's failure.
    void maintain(session& db);
    /// After a lost connection: gives back what the server believes is ours and is not among the given.
    void reconcile(session& db, const claims& held);
    /// Deletes the row.
    void leave(session& db);
    /// The row is gone, and there will be no other.
    void forget() noexcept { id_ = 0; }

private:
    std::string name_;
    std::string options_;
    std::chrono::milliseconds heartbeat_interval_;
    spdlog::logger& log_;
    std::int64_t id_ = 0;
    std::chrono::milliseconds interval_ = heartbeat_interval_;
    steady_time next_beat_{};
    steady_time next_look_{};
    steady_time next_maintenance_{};
};

} // namespace haul::core

#endif
