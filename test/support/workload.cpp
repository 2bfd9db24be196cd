#include "support/workload.hpp"

#include "support/checker.hpp"
#include "support/wait.hpp"

namespace haul::test {

namespace {

const char* kind_of(work what) {
    return what == work::effect ? "effect" : "noop";
}

// A handler must know the id of its job, which the server gives in the end: so it is drawn beforehand.
std::string enqueue_statement(int jobs, int priority, const std::string& kind) {
    return "WITH n AS MATERIALIZED (SELECT nextval('haul.jobs_id_seq') AS id FROM generate_series(1, " +
           std::to_string(jobs) +
           ")), j AS (INSERT INTO haul.jobs (id, kind, args, priority) OVERRIDING SYSTEM VALUE SELECT id, '" +
           kind + "', jsonb_build_object('id', id), " + std::to_string(priority) +
           " FROM n) INSERT INTO expected SELECT id FROM n";
}

} // namespace

workload::workload(const std::string& dsn, work what) : dsn_(dsn), what_(what) {
    session(dsn).exec(R"sql(
        CREATE TABLE expected (id bigint NOT NULL);
        CREATE TABLE effects (job_id bigint NOT NULL);
        CREATE FUNCTION take_effect(args jsonb) RETURNS void LANGUAGE sql
            AS $$ INSERT INTO effects VALUES ((args ->> 'id')::bigint) $$;
    )sql");
}

std::string workload::yaml(const std::string& more_handlers) {
    return "haul:\n  handlers:\n    effect: {sql: public.take_effect}\n    noop: {builtin: noop}\n" +
           more_handlers;
}

void workload::enqueue(int jobs, int priority, const std::string& kind) {
    session(dsn_).exec(enqueue_statement(jobs, priority, kind.empty() ? kind_of(what_) : kind));
}

rows workload::asked(const std::string& sql) {
    rows found;
    wait_until(
        [&] {
            try {
                found = session(dsn_).exec(sql);
                return true;
            } catch (const sql_error&) {
                return false;
            }
        },
        "the server answers");
    return found;
}

std::int64_t workload::completed() {
    return std::stoll(
        *asked("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'").at(0).at(0));
}

bool workload::drained() {
    return asked("SELECT NOT EXISTS (SELECT FROM haul.jobs)").at(0).at(0) == "t";
}

std::vector<std::string> workload::drain_and_check() {
    wait_until([this] { return drained(); }, "all jobs have ended", 60s);
    // A worker may be at it already.
    wait_until([this] { return asked("SELECT haul.maintain() ->> 'ran'").at(0).at(0) == "true"; },
               "maintenance has run");
    return check(dsn_, {"expected", what_ == work::effect ? "effects" : "", true, true});
}

producer::producer(const std::string& dsn, work what) : thread_([this, dsn, what] { produce(dsn, what); }) {}

producer::~producer() {
    stop();
}

void producer::stop() {
    stopping_ = true;
    if (thread_.joinable())
        thread_.join();
}

void producer::produce(const std::string& dsn, work what) {
    const std::string enqueue = enqueue_statement(5, 100, kind_of(what));
    while (!stopping_) {
        try {
            session database(dsn);
            for (int n = 0; !stopping_; ++n) {
                database.exec(n % 10 == 0 ? "BEGIN; " + enqueue + "; ROLLBACK" : enqueue);
                std::this_thread::sleep_for(5ms); // the pace of an application, not of a benchmark
            }
        } catch (const sql_error&) {
            std::this_thread::sleep_for(20ms); // the server is away: try again soon
        }
    }
}

} // namespace haul::test
