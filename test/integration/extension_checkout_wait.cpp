// CALL haul.checkout_wait: a checkout that waits on the server, and is not there while it waits.
#include "support/background.hpp"
#include "support/cluster.hpp"

#include <chrono>
#include <ctime>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace haul::test {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

enum class mode { served, unserved, not_preloaded };

class extension_checkout_wait : public ::testing::TestWithParam<mode> {
protected:
    extension_checkout_wait() {
        if (GetParam() == mode::served)
            await_served(database);
    }

    std::string register_worker(const std::string& options = "{}") {
        return database.text("SELECT haul.register_worker('w', $1)", {options});
    }

    static std::string call(const std::string& worker, const std::string& more = "1, '1 h'") {
        return "CALL haul.checkout_wait(" + worker + ", " + more + ")";
    }

    // Sends a statement and returns when the session waits.
    void begin(session& waiting, const std::string& sql) {
        waiting.send(sql);
        wait_until(
            [&] {
                return database.truth("SELECT wait_event_type IS NOT DISTINCT FROM 'Extension' FROM "
                                      "pg_stat_activity WHERE pid = $1",
                                      {std::to_string(waiting.backend_pid())});
            },
            "the session waits");
    }

    std::string state_of_job() { return database.text("SELECT state FROM haul.jobs"); }

    std::string sqlstate(const std::string& sql) {
        try {
            database.exec(sql);
            return "00000";
        } catch (const sql_error& error) {
            database.exec("ROLLBACK");
            return error.sqlstate();
        }
    }

    static rows await_end(session& waiting) {
        wait_until([&] { return !waiting.busy(); }, "the call has ended");
        return waiting.finish();
    }

    static nlohmann::json finish(session& waiting) {
        return nlohmann::json::parse(*await_end(waiting).at(0).at(0));
    }

    static std::chrono::nanoseconds processor_time(int process) {
        clockid_t clock;
        timespec time;
        EXPECT_EQ(::clock_getcpuclockid(process, &clock), 0);
        EXPECT_EQ(::clock_gettime(clock, &time), 0);
        return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
    }

    cluster server{{GetParam() != mode::not_preloaded,
                    {{"haul.databases", GetParam() == mode::served ? "*" : "nowhere"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
    std::string worker = register_worker();
};

INSTANTIATE_TEST_SUITE_P(, extension_checkout_wait,
                         ::testing::Values(mode::served, mode::unserved, mode::not_preloaded),
                         [](const auto& info) {
                             return info.param == mode::served     ? "served"
                                    : info.param == mode::unserved ? "unserved"
                                                                   : "not_preloaded";
                         });

TEST_P(extension_checkout_wait, returns_at_once_what_is_due) {
    database.exec("INSERT INTO haul.jobs (kind, queue, priority, run_at) VALUES ('third', 'b', 1, now()), "
                  "('second', 'a', 2, now()), "
                  "('first', 'a', 1, now()), ('later', 'a', 1, now() + interval '1 day')");
    const nlohmann::json jobs = nlohmann::json::parse(database.text(call(worker, "10, '1 h'")));
    ASSERT_EQ(jobs.size(), 3u);
    EXPECT_EQ(jobs[0].at("kind"), "first");
    EXPECT_EQ(jobs[1].at("kind"), "second");
    EXPECT_EQ(jobs[2].at("kind"), "third");
    for (const nlohmann::json& job : jobs)
        EXPECT_EQ(database.text("SELECT haul.complete($1, ARRAY[$2::bigint], ARRAY[$3::integer])",
                                {worker, job.at("id").dump(), job.at("claim").dump()}),
                  "{}");
}

TEST_P(extension_checkout_wait, returns_soon_after_a_commit) {
    session waiting(dsn);
    begin(waiting, call(worker));
    database.exec("BEGIN; INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
    EXPECT_TRUE(waiting.busy());
    const auto began = steady_clock::now();
    database.exec("COMMIT");
    EXPECT_EQ(finish(waiting).size(), 1u);
    EXPECT_LT(steady_clock::now() - began, 2s);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 1);
}

TEST_P(extension_checkout_wait, returns_when_a_job_falls_due) {
    session waiting(dsn);
    begin(waiting, call(worker));
    database.exec("INSERT INTO haul.jobs (kind, run_at) VALUES ('k', now() + interval '1 s')");
    EXPECT_EQ(finish(waiting).size(), 1u);
    EXPECT_TRUE(
        database.truth("SELECT started_at BETWEEN run_at AND run_at + interval '1 s' FROM haul.jobs"));
    // Also one that was there before.
    database.exec("INSERT INTO haul.jobs (kind, run_at) VALUES ('k', now() + interval '1 s')");
    waiting.send(call(worker));
    EXPECT_EQ(finish(waiting).size(), 1u);
}

TEST_P(extension_checkout_wait, waits_calmly_for_a_job_that_somebody_has_locked) {
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    database.exec("BEGIN; SELECT FROM haul.jobs FOR UPDATE");
    session waiting(dsn);
    waiting.send(call(worker));
    const auto before = processor_time(waiting.backend_pid());
    expect_all_along([&] { return waiting.busy(); }, "the job is locked", 1s);
    EXPECT_LT(processor_time(waiting.backend_pid()) - before, 300ms);
    database.exec("ROLLBACK");
    const auto began = steady_clock::now();
    EXPECT_EQ(finish(waiting).size(), 1u);
    EXPECT_LT(steady_clock::now() - began, 3s);
}

TEST_P(extension_checkout_wait, returns_nothing_after_the_wait) {
    const auto began = steady_clock::now();
    EXPECT_EQ(database.text(call(worker, "1, '1 s'")), "[]");
    EXPECT_GE(steady_clock::now() - began, 1s);
    EXPECT_EQ(database.text(call(worker, "1, '0'")), "[]");
}

TEST_P(extension_checkout_wait, refuses_what_makes_no_sense) {
    EXPECT_EQ(sqlstate("BEGIN; " + call(worker)), "25001");
    EXPECT_EQ(sqlstate("SELECT 1; " + call(worker)), "25001")
        << "several statements at once are a transaction";
    EXPECT_EQ(sqlstate(call("-1")), "HQ003");
    EXPECT_EQ(sqlstate(call(worker, "0")), "22023");
    EXPECT_EQ(sqlstate(call(worker, "-1")), "22023");
    EXPECT_EQ(sqlstate(call(worker, "10001")), "22023");
    EXPECT_EQ(sqlstate(call(worker, "1, '-1 s'")), "22023");
    EXPECT_EQ(sqlstate(call("NULL")), "22004");
    EXPECT_EQ(sqlstate(call(worker, "NULL")), "22004");
    EXPECT_EQ(sqlstate(call(worker, "1, NULL")), "22004");
    EXPECT_EQ(sqlstate("SET default_transaction_read_only = on"), "00000");
    EXPECT_EQ(sqlstate(call(worker)), "25006");
}

TEST_P(extension_checkout_wait, fails_when_the_worker_is_removed) {
    session waiting(dsn);
    begin(waiting, call(worker));
    database.exec("DELETE FROM haul.workers");
    try {
        await_end(waiting);
        FAIL() << "it returned";
    } catch (const sql_error& error) {
        EXPECT_EQ(error.sqlstate(), "HQ003");
    }
}

TEST_P(extension_checkout_wait, holds_nothing_while_it_waits) {
    session waiting(dsn);
    begin(waiting, call(worker));
    const std::vector<value> pid{std::to_string(waiting.backend_pid())};
    EXPECT_EQ(database.exec("SELECT backend_xmin, backend_xid FROM pg_stat_activity WHERE pid = $1", pid),
              (rows{{std::nullopt, std::nullopt}}));
    EXPECT_EQ(database.exec(
                  "SELECT relation::regclass, classid::regclass FROM pg_locks WHERE pid = $1 AND locktype <> "
                  "'virtualxid'",
                  pid),
              rows{});
    // So this does not wait.
    database.exec("SET lock_timeout = '5s'; LOCK TABLE haul.jobs, haul.workers IN ACCESS EXCLUSIVE MODE");
    EXPECT_TRUE(waiting.busy());
}

TEST_P(extension_checkout_wait, commits_what_it_claims) {
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    session waiting(dsn);
    EXPECT_THAT(waiting.text(call(worker)), HasSubstr("k"));
    EXPECT_EQ(state_of_job(), "running");
    EXPECT_EQ(waiting.text("SHOW synchronous_commit"), "on") << "the session has its settings back";
    EXPECT_EQ(waiting.text("SHOW intervalstyle"), "postgres");
}

TEST_P(extension_checkout_wait, leaves_the_durability_of_what_its_caller_does_next_alone) {
    database.exec("CREATE TABLE seen (commits text);"
                  "INSERT INTO haul.jobs (kind) VALUES ('k');"
                  "CREATE PROCEDURE work(worker bigint) LANGUAGE plpgsql AS $$ DECLARE jobs jsonb; BEGIN "
                  "CALL haul.checkout_wait(worker, 1, '1 h', jobs); "
                  "INSERT INTO seen SELECT current_setting('synchronous_commit') WHERE jobs <> '[]'; END $$");
    database.exec("CALL work(" + worker + ")");
    EXPECT_EQ(database.text("SELECT commits FROM seen"), "on");
    database.exec("DROP PROCEDURE work; DROP TABLE seen");
}

TEST_P(extension_checkout_wait, claims_nothing_for_a_client_that_is_gone) {
    session waiting(dsn);
    begin(waiting, call(worker));
    ::close(PQsocket(waiting.handle()));
    wait_until(
        [&] {
            return database.truth("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)",
                                  {std::to_string(waiting.backend_pid())});
        },
        "the session has ended");
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_EQ(state_of_job(), "ready");
}

TEST_P(extension_checkout_wait, claims_nothing_for_a_client_that_goes_just_when_a_job_comes) {
    const int process = [&] {
        session waiting(dsn);
        begin(waiting, call(worker));
        // The backend cannot have noticed either when it looks again.
        const frozen backend(waiting.backend_pid());
        database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        ::close(PQsocket(waiting.handle()));
        return waiting.backend_pid();
    }();
    wait_until(
        [&] {
            return database.truth("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)",
                                  {std::to_string(process)});
        },
        "the session has ended");
    EXPECT_EQ(state_of_job(), "ready");
}

TEST_P(extension_checkout_wait, that_is_cancelled_leaves_the_job_to_others) {
    session cancelled(dsn);
    session waiting(dsn);
    const auto expect_cancelled = [&](const std::string& how) {
        try {
            await_end(cancelled);
            FAIL() << "it returned in spite of " << how;
        } catch (const sql_error& error) {
            EXPECT_EQ(error.sqlstate(), "57014") << how;
        }
    };
    begin(cancelled, call(worker));
    begin(waiting, call(register_worker()));
    database.exec("SELECT pg_cancel_backend($1)", {std::to_string(cancelled.backend_pid())});
    expect_cancelled("pg_cancel_backend()");
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_EQ(finish(waiting).size(), 1u);

    // While a job is on its way to it.
    begin(cancelled, call(worker));
    begin(waiting, call(register_worker()));
    {
        const frozen backend(cancelled.backend_pid());
        database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        database.exec("SELECT pg_cancel_backend($1)", {std::to_string(cancelled.backend_pid())});
    }
    expect_cancelled("pg_cancel_backend()");
    EXPECT_EQ(finish(waiting).size(), 1u);

    cancelled.exec("SET statement_timeout = '300 ms'");
    begin(cancelled, call(worker));
    begin(waiting, call(register_worker()));
    expect_cancelled("statement_timeout");
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_EQ(finish(waiting).size(), 1u);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE worker_id = $1", {worker}), 0);

    // The session can go on.
    cancelled.exec("RESET statement_timeout; INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_THAT(cancelled.text(call(worker)), HasSubstr("\"k\""));
}

TEST_P(extension_checkout_wait, writes_the_same_whatever_the_settings_of_the_session) {
    database.exec("INSERT INTO haul.jobs (kind, args, run_at, timeout) VALUES "
                  "('k', '{\"n\": [1]}', '2000-06-01 12:34:56.789012+00', '1 day 02:03:04.5')");
    const std::string release =
        "SELECT haul.release($1, array_agg(id), array_agg(claim), false) FROM haul.jobs";
    std::vector<nlohmann::json> seen;
    for (const char* settings :
         {"SET intervalstyle = postgres; SET timezone = 'UTC'; SET datestyle = ISO",
          "SET intervalstyle = postgres_verbose; SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'",
          "SET intervalstyle = sql_standard; SET timezone = 'America/New_York'; SET datestyle = 'SQL, DMY'",
          "SET intervalstyle = iso_8601; SET timezone = 'Europe/Berlin'; SET datestyle = 'Postgres, MDY'"}) {
        database.exec(settings);
        nlohmann::json jobs = nlohmann::json::parse(database.text(call(worker)));
        ASSERT_EQ(jobs.size(), 1u);
        jobs[0]["claim"] = 1; // the only thing that is new each time
        seen.push_back(jobs[0]);
        database.exec(release, {worker});
    }
    const nlohmann::json& job = seen[0];
    EXPECT_EQ(job.at("args").dump(), R"({"n":[1]})");
    EXPECT_EQ(job.at("timeout"), "P1DT2H3M4.5S");
    EXPECT_EQ(job.at("run_at"), "2000-06-01T12:34:56.789012+00:00");
    EXPECT_TRUE(job.at("progress").is_null());
    for (const nlohmann::json& other : seen)
        EXPECT_EQ(other, job);

    std::string columns;
    for (const auto& member : job.items())
        columns += (columns.empty() ? "" : " ") + member.key();
    EXPECT_EQ(columns, database.text("SELECT string_agg(name, ' ' ORDER BY name COLLATE \"C\") FROM pg_proc, "
                                     "unnest(proargnames) WITH ORDINALITY AS a (name, n) WHERE oid = "
                                     "'haul.checkout(bigint, integer)'::regprocedure AND n > pronargs"))
        << "the columns of haul.checkout()";
}

TEST_P(extension_checkout_wait, can_be_called_with_parameters) {
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_THAT(database.text("CALL haul.checkout_wait($1, $2, $3)", {worker, "1", "1 h"}),
                HasSubstr("\"k\""));
}

TEST_P(extension_checkout_wait, can_be_called_by_a_procedure) {
    database.exec("CREATE TABLE taken (jobs jsonb)");
    session waiting(dsn);
    begin(waiting, "DO $$ DECLARE jobs jsonb; BEGIN CALL haul.checkout_wait(" + worker +
                       ", 10, '1 h', jobs); INSERT INTO taken VALUES (jobs); END $$");
    EXPECT_EQ(database.get("SELECT backend_xmin FROM pg_stat_activity WHERE pid = $1",
                           {std::to_string(waiting.backend_pid())}),
              std::nullopt);
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    await_end(waiting);
    EXPECT_EQ(database.number("SELECT jsonb_array_length(jobs) FROM taken"), 1);
}

} // namespace
} // namespace haul::test
