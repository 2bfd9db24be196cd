#include "protocol.hpp"

namespace haul::core::protocol {

namespace {

struct claim_arrays {
    explicit claim_arrays(const claims& jobs) {
        for (const auto id : jobs.ids)
            ids.add_int64(id);
        for (const auto claim : jobs.numbers)
            numbers.add_int32(claim);
    }
    array_builder ids{type::int8};
    array_builder numbers{type::int4};
};

} // namespace

// It is said with each call because a session may be one of a pooler's, where nothing may stay behind. In a
// list of columns, what stands first is evaluated first.
#define BOUNDED "SELECT pg_catalog.set_config('lock_timeout', '1s', true), "

std::int64_t register_worker(session& db, const std::string& name, const std::string& options) {
    static constexpr statement call{"haul_register", BOUNDED "haul.register_worker($1, $2)"};
    return read_int64(db.query(call, parameters{}.add_text(name).add_jsonb(options))(0, 1));
}

// The commit need not wait for the disk: a claim that is lost in a crash leaves a job that is ready again.
result checkout(session& db, std::int64_t worker, int max_jobs) {
    static constexpr statement call{
        "haul_checkout",
        "SELECT id, claim, queue, kind, args, priority, attempt, max_attempts, run_at, enqueued_at,"
        " timeout, on_timeout, interrupted_at, last_error, workflow_id, cron_name, confirm_start"
        " FROM pg_catalog.set_config('synchronous_commit', 'off', true) AS unflushed,"
        " pg_catalog.set_config('lock_timeout', '1s', true) AS bounded, haul.checkout($1, $2)"};
    return db.query(call, parameters{}.add_int64(worker).add_int32(max_jobs));
}

void begin_checkout_wait(session& db, std::int64_t worker, int max_jobs, std::chrono::microseconds wait) {
    static constexpr statement call{"haul_checkout_wait", "CALL haul.checkout_wait($1, $2, $3)"};
    db.send(call, parameters{}.add_int64(worker).add_int32(max_jobs).add_interval(wait));
}

// A procedure returns no rows but one value, a JSON array. The server knows best how to read it.
result checked_out(session& db, const result& answer) {
    static constexpr statement call{
        "haul_checked_out",
        "SELECT * FROM pg_catalog.jsonb_to_recordset($1) AS jobs(id bigint, claim integer,"
        " queue pg_catalog.text, kind pg_catalog.text, args pg_catalog.jsonb,"
        " priority smallint, attempt integer, max_attempts integer, run_at pg_catalog.timestamptz,"
        " enqueued_at pg_catalog.timestamptz, timeout interval, on_timeout pg_catalog.text,"
        " interrupted_at pg_catalog.timestamptz,"
        " last_error pg_catalog.text, workflow_id bigint, cron_name pg_catalog.text, confirm_start boolean)"};
    return db.query(call, parameters{}.add_jsonb(read_jsonb(answer(0, 0))));
}

bool heartbeat(session& db, std::int64_t worker, int busy, bool draining) {
    static constexpr statement call{"haul_heartbeat", BOUNDED "haul.heartbeat($1, $2, $3, $4)"};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_int32(busy)
                                         .add_text(draining ? "draining" : "running")
                                         .add_int32(db.backend_pid()));
    return rows.boolean(0, 1);
}

// With an older snapshot than its own, which the defaults of a database may ask for, it would not fold.
void maintain(session& db) {
    try {
        db.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
                   " SET LOCAL lock_timeout = '1s'; SELECT haul.maintain(false); COMMIT");
    } catch (const connection_error&) {
        throw;
    } catch (const interrupted_error&) {
        throw;
    } catch (const error&) {
        db.execute("ROLLBACK");
        throw;
    }
}

namespace {
std::optional<std::chrono::microseconds> interval_of(const result& rows) {
    if (rows.is_null(0, 1))
        return std::nullopt;
    return read_interval(rows(0, 1));
}
} // namespace

std::optional<std::chrono::microseconds> watch_workers(session& db) {
    static constexpr statement call{"haul_watch", BOUNDED "haul.watch_workers()"};
    return interval_of(db.query(call));
}

std::chrono::microseconds worker_timeout(session& db) {
    static constexpr statement call{"haul_worker_timeout", BOUNDED "haul._setting('haul.worker_timeout')"};
    return *interval_of(db.query(call));
}

std::optional<std::chrono::microseconds> next_due(session& db, std::int64_t worker) {
    static constexpr statement call{"haul_next_due", BOUNDED "haul.next_due($1)"};
    return interval_of(db.query(call, parameters{}.add_int64(worker)));
}

bool is_preloaded(session& db) {
    static constexpr statement call{"haul_preloaded", "SELECT preloaded FROM haul._background()"};
    return db.query(call, parameters{}).boolean(0, 0);
}

std::int64_t reconcile(session& db, std::int64_t worker, const claims& held) {
    static constexpr statement call{"haul_reconcile", BOUNDED "haul.reconcile($1, $2, $3)"};
    claim_arrays arrays{held};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers));
    return read_int64(rows(0, 1));
}

claims not_owned(session& db, std::int64_t worker, const claims& jobs) {
    static constexpr statement call{"haul_not_owned",
                                    "SELECT id, claim FROM pg_catalog.set_config('lock_timeout', '1s', true),"
                                    " haul.not_owned($1, $2, $3)"};
    claim_arrays arrays{jobs};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers));
    claims lost;
    for (int row = 0; row < rows.rows(); ++row)
        lost.add(read_int64(rows(row, 0)), read_int32(rows(row, 1)));
    return lost;
}

std::vector<std::int64_t> start(session& db, std::int64_t worker, const claims& jobs) {
    static constexpr statement call{"haul_start", "SELECT haul.start($1, $2, $3)"};
    claim_arrays arrays{jobs};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers));
    return read_int64_array(rows(0, 0));
}

std::vector<std::int64_t> release(session& db, std::int64_t worker, const claims& jobs, bool started) {
    static constexpr statement call{"haul_release", BOUNDED "haul.release($1, $2, $3, $4)"};
    claim_arrays arrays{jobs};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers)
                                         .add_boolean(started));
    return read_int64_array(rows(0, 1));
}

void unregister_worker(session& db, std::int64_t worker) {
    static constexpr statement call{"haul_unregister", BOUNDED "haul.unregister_worker($1)"};
    db.query(call, parameters{}.add_int64(worker));
}

bool progress(session& db, std::int64_t worker, std::int64_t id, std::int32_t claim,
              const std::string& value) {
    static constexpr statement call{"haul_progress", "SELECT haul.progress($1, $2, $3, $4)"};
    const auto rows =
        db.query(call, parameters{}.add_int64(worker).add_int64(id).add_int32(claim).add_jsonb(value));
    return rows.boolean(0, 0);
}

} // namespace haul::core::protocol
