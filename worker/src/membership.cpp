#include "membership.hpp"

#include "haul/error.hpp"
#include "protocol.hpp"
#include "text.hpp"

namespace haul::core {

void membership::enter(session& db) {
    id_ = protocol::register_worker(db, name_, options_);
    next_beat_ = std::chrono::steady_clock::now() + heartbeat_interval_;
    log_.info("event=registered worker_id={}", id_);
}

bool membership::beat(session& db, std::size_t busy, bool draining) {
    const bool known = protocol::heartbeat(db, id_, static_cast<int>(busy), draining);
    next_beat_ = std::chrono::steady_clock::now() + heartbeat_interval_;
    return known;
}

void membership::maintain(session& db) {
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
