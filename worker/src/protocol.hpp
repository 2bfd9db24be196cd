#ifndef HAUL_WORKER_PROTOCOL_HPP
#define HAUL_WORKER_PROTOCOL_HPP

#include "batch.hpp"
#include "session.hpp"

#include <optional>
#include <string>

/// The functions of schema haul that a worker calls. Each may throw what session::query() throws. None waits
/// for a lock for longer than a second, so that signs of life are not late.
namespace haul::core::protocol {

/// Columns of checkout().
namespace column {
enum : int {
    id,
    claim,
    queue,
    kind,
    args,
    priority,
    attempt,
    max_attempts,
    run_at,
    enqueued_at,
    timeout,
    on_timeout,
    interrupted_at,
    last_error,
    workflow_id,
    cron_name,
    confirm_start,
};
}

std::int64_t register_worker(session& db, const std::string& name, const std::string& options);
result checkout(session& db, std::int64_t worker, int max_jobs);
/// Starts haul.checkout_wait(); session::answer() gives its answer.
void begin_checkout_wait(session& db, std::int64_t worker, int max_jobs, std::chrono::microseconds wait);
/// The jobs of that answer, in the columns of checkout().
result checked_out(session& db, const result& answer);
/// Returns false when the worker is not registered any more. Tells whose the session is, too.
bool heartbeat(session& db, std::int64_t worker, int busy, bool draining);
void maintain(session& db);
/// A look at the other workers; returns when to look again, or nothing where the server sees to it.
std::optional<std::chrono::microseconds> watch_workers(session& db);
/// After how much silence a worker counts as lost.
std::chrono::microseconds worker_timeout(session& db);
std::optional<std::chrono::microseconds> next_due(session& db, std::int64_t worker);
/// Whether the server preloads pg_haul, and so tells a worker of jobs on the worker's own channel.
bool is_preloaded(session& db);
/// Returns how many jobs were given back.
std::int64_t reconcile(session& db, std::int64_t worker, const claims& held);
/// Those that are not owned any more.
claims not_owned(session& db, std::int64_t worker, const claims& jobs);
/// Each of these returns the ids that were not owned any more.
std::vector<std::int64_t> start(session& db, std::int64_t worker, const claims& jobs);
std::vector<std::int64_t> release(session& db, std::int64_t worker, const claims& jobs, bool started);
void unregister_worker(session& db, std::int64_t worker);
/// Returns whether the job was owned.
bool progress(session& db, std::int64_t worker, std::int64_t id, std::int32_t claim,
              const std::string& value);

} // namespace haul::core::protocol

#endif
