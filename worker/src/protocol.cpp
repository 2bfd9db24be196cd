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

std::int64_t register_worker(session& db, const std::string& name, const std::string& options) {
    static constexpr statement call{"haul_register", "SELECT haul.register_worker($1, $2)"};
    return read_int64(db.query(call, parameters{}.add_text(name).add_jsonb(options))(0, 0));
}

// The commit need not wait for the disk: a claim that is lost in a crash leaves a job that is ready again. It
// is said with each call because a session may be one of a pooler's, where nothing may stay behind.
result checkout(session& db, std::int64_t worker, int max_jobs) {
    static constexpr statement call{
        "haul_checkout",
        "SELECT id, claim, queue, kind, args, priority, attempt, max_attempts, run_at, enqueued_at,"
        " timeout, on_timeout, interrupted_at, last_error, workflow_id, cron_name, confirm_start"
        " FROM pg_catalog.set_config('synchronous_commit', 'off', true), haul.checkout($1, $2)"};
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
    static constexpr statement call{"haul_heartbeat", "SELECT haul.heartbeat($1, $2, $3)"};
    const auto rows = db.query(
        call, parameters{}.add_int64(worker).add_int32(busy).add_text(draining ? "draining" : "running"));
    return rows.boolean(0, 0);
}

// With an older snapshot than its own, which the defaults of a database may ask for, it would not fold.
void maintain(session& db) {
    try {
        db.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT haul.maintain(false); COMMIT");
    } catch (const connection_error&) {
        throw;
    } catch (const interrupted_error&) {
        throw;
    } catch (const error&) {
        db.execute("ROLLBACK");
        throw;
    }
}

std::optional<std::chrono::microseconds> next_due(session& db, std::int64_t worker) {
    static constexpr statement call{"haul_next_due", "SELECT haul.next_due($1)"};
    const auto rows = db.query(call, parameters{}.add_int64(worker));
    if (rows.is_null(0, 0))
        return std::nullopt;
    return read_interval(rows(0, 0));
}

std::int64_t reconcile(session& db, std::int64_t worker, const claims& held) {
    static constexpr statement call{"haul_reconcile", "SELECT haul.reconcile($1, $2, $3)"};
    claim_arrays arrays{held};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers));
    return read_int64(rows(0, 0));
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
    static constexpr statement call{"haul_release", "SELECT haul.release($1, $2, $3, $4)"};
    claim_arrays arrays{jobs};
    const auto rows = db.query(call, parameters{}
                                         .add_int64(worker)
                                         .add_array(type::int8_array, arrays.ids)
                                         .add_array(type::int4_array, arrays.numbers)
                                         .add_boolean(started));
    return read_int64_array(rows(0, 0));
}

void unregister_worker(session& db, std::int64_t worker) {
    static constexpr statement call{"haul_unregister", "SELECT haul.unregister_worker($1)"};
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
