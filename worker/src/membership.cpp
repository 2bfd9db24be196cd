#include "membership.hpp"

#include "haul/error.hpp"
#include "protocol.hpp"
#include "text.hpp"

namespace haul::core {

namespace {

// So many signs of life fit into the time after which a silent worker is lost.
constexpr int signs = 5;
// Maintenance is due once in so many heartbeats.
constexpr int beats = 5;

} // namespace

void membership::enter(session& db) {
    id_ = protocol::register_worker(db, name_, options_);
    adapt(db);
    next_beat_ = std::chrono::steady_clock::now();
    next_maintenance_ = next_beat_ + beats * interval_;
    log_.info("event=registered worker_id={}", id_);
}

void membership::adapt(session& db) {
    const auto longest =
        std::chrono::duration_cast<std::chrono::milliseconds>(protocol::worker_timeout(db) / signs);
    if (heartbeat_interval_ > longest)
        log_.warn("event=heartbeat_interval_shortened from_ms={} to_ms={} message=\"the setting "
                  "haul.worker_timeout would have the worker taken for lost\"",
                  heartbeat_interval_.count(), longest.count());
    interval_ = std::min(heartbeat_interval_, longest);
}

bool membership::beat(session& db, std::size_t busy, bool draining) {
    next_beat_ = std::chrono::steady_clock::now() + interval_;
    return protocol::heartbeat(db, id_, static_cast<int>(busy), draining);
}

void membership::maintain(session& db) {
    next_maintenance_ = std::chrono::steady_clock::now() + beats * interval_;
    try {
        protocol::maintain(db);
    } catch (const connection_error&) {
        throw;
    } catch (const interrupted_error&) {
        throw;
    } catch (const error& failure) {
        log_.warn("event=maintenance_failed sqlstate={} message={}", failure.sqlstate(),
                  log_value(failure.what()));
    }
}

void membership::look_after_others(session& db) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_look_)
        next_look_ = now + protocol::watch_workers(db).value_or(beats * interval_);
    if (now >= next_maintenance_)
        maintain(db);
}

void membership::reconcile(session& db, const claims& held) {
    const auto given_back = protocol::reconcile(db, id_, held);
    log_.info("event=reconciled in_flight={} given_back={}", held.ids.size(), given_back);
}

void membership::leave(session& db) {
    if (id_ == 0)
        return;
    protocol::unregister_worker(db, id_);
    log_.info("event=unregistered worker_id={}", id_);
    id_ = 0;
}

} // namespace haul::core
