// CALL haul.wait_for: waits on the server until a job has ended, and is not there while it waits.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/pooler.hpp"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <unistd.h>

namespace haul::test {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

enum class mode { served, unserved, not_preloaded };

class extension_wait_for : public ::testing::TestWithParam<mode> {
protected:
    extension_wait_for() {
        if (GetParam() == mode::served)
            await_served(database);
    }

    std::string enqueue(const std::string& columns = "kind", const std::string& values = "'k'") {
        return database.text("INSERT INTO haul.jobs (" + columns + ") VALUES (" + values + ") RETURNING id");
    }

    static std::string call(const std::string& job, const std::string& timeout = "'1 h'") {
        return "CALL haul.wait_for(" + job + ", " + timeout + ")";
    }

    // Sends a statement and returns when the session waits.
    void begin(session& waiting, const std::string& sql) {
        waiting.send(sql);
        await_waiting(waiting.backend_pid());
    }
    void await_waiting(int process) {
        wait_until(
            [&] {
                return database.truth(
                    "SELECT wait_event_type IS NOT DISTINCT FROM 'Extension' FROM pg_stat_activity "
                    "WHERE pid = $1",
                    {std::to_string(process)});
            },
            "the session waits");
    }

    static rows await_end(session& waiting) {
        wait_until([&] { return !waiting.busy(); }, "the call has ended");
        return waiting.finish();
    }

    // Checks one job out and does something with it: an expression of w.id, j.id and j.claim.
    void settle(const std::string& how) {
        database.exec("WITH j AS MATERIALIZED (SELECT * FROM haul.checkout($1::bigint, 1)) SELECT " + how +
                          " FROM j, (SELECT $1::bigint AS id) AS w",
                      {worker});
    }
    void complete(const std::string& result = "{}") {
        settle("haul.complete(w.id, ARRAY[j.id], ARRAY[j.claim], ARRAY['" + result + "'::jsonb])");
    }

    std::string sqlstate(session& by, const std::string& sql) {
        try {
            by.exec(sql);
            return "00000";
        } catch (const sql_error& error) {
            by.exec("ROLLBACK");
            return error.sqlstate();
        }
    }

    cluster server{{GetParam() != mode::not_preloaded,
                    {{"haul.databases", GetParam() == mode::served ? "*" : "nowhere"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
    std::string worker = database.text("SELECT haul.register_worker('w', '{}')");
};

INSTANTIATE_TEST_SUITE_P(, extension_wait_for,
                         ::testing::Values(mode::served, mode::unserved, mode::not_preloaded),
                         [](const auto& info) {
                             return info.param == mode::served     ? "served"
                                    : info.param == mode::unserved ? "unserved"
                                                                   : "not_preloaded";
                         });

TEST_P(extension_wait_for, returns_when_the_job_ends) {
    session waiting(dsn);
    auto job = enqueue();
    begin(waiting, call(job));
    // Where somebody wakes it, looks at intervals of two seconds are only the net.
    constexpr auto at_once = 1500ms;
    auto began = steady_clock::now();
    complete("{\"n\": 1}");
    EXPECT_EQ(await_end(waiting), (rows{{"completed", "{\"n\": 1}", std::nullopt}}));
    EXPECT_LT(steady_clock::now() - began, at_once);
    EXPECT_EQ(waiting.exec(call(job)), (rows{{"completed", "{\"n\": 1}", std::nullopt}})) << "or has ended";

    job = enqueue("kind, max_attempts", "'k', 2");
    begin(waiting, call(job));
    settle("haul.fail(w.id, j.id, j.claim, 'once', retry_in => '0')");
    expect_all_along([&] { return waiting.busy(); }, "there is another attempt", 300ms);
    settle("haul.fail(w.id, j.id, j.claim, 'twice')");
    EXPECT_EQ(await_end(waiting), (rows{{"failed", std::nullopt, "twice"}}));

    job = enqueue();
    begin(waiting, call(job));
    began = steady_clock::now();
    database.exec("DELETE FROM haul.jobs");
    EXPECT_EQ(await_end(waiting).at(0).at(0), "unknown") << "what is deleted by hand is not kept";
    EXPECT_LT(steady_clock::now() - began, at_once);

    job = enqueue("kind, keep", "'k', '0'");
    begin(waiting, call(job));
    complete();
    EXPECT_EQ(await_end(waiting), (rows{{"unknown", std::nullopt, "the job ended, but is not kept"}}));
}

TEST_P(extension_wait_for, returns_when_a_run_of_a_periodic_job_is_over) {
    session waiting(dsn);
    const auto job = enqueue("kind, every", "'k', '1 day'");
    begin(waiting, call(job));
    complete("{\"run\": 1}");
    EXPECT_EQ(await_end(waiting).at(0).at(1), "{\"run\": 1}");
    database.exec("UPDATE haul.jobs SET run_at = now()");
    begin(waiting, call(job));
    complete("{\"run\": 2}");
    EXPECT_EQ(await_end(waiting).at(0).at(1), "{\"run\": 2}");
}

TEST_P(extension_wait_for, wakes_everybody_who_waits_for_the_job) {
    const auto job = enqueue();
    session one(dsn);
    session two(dsn);
    session other(dsn);
    begin(one, call(job));
    begin(two, call(job));
    begin(other, call(enqueue("kind, run_at", "'later', now() + interval '1 day'")));
    complete();
    await_end(one);
    await_end(two);
    EXPECT_TRUE(other.busy());
}

TEST_P(extension_wait_for, says_where_the_job_is_when_the_time_is_over) {
    const auto job = enqueue();
    const auto began = steady_clock::now();
    EXPECT_EQ(database.exec(call(job, "'300 ms'")), (rows{{"ready", std::nullopt, std::nullopt}}));
    EXPECT_GE(steady_clock::now() - began, 300ms);
    settle("1");
    EXPECT_EQ(database.exec(call(job, "'0'")).at(0).at(0), "running");
    EXPECT_EQ(
        database.exec(call(enqueue("kind, state, run_at", "'k', 'waiting', 'infinity'"), "'0'")).at(0).at(0),
        "waiting");
}

TEST_P(extension_wait_for, refuses_what_makes_no_sense) {
    const auto job = enqueue();
    EXPECT_EQ(sqlstate(database, "BEGIN; " + call(job)), "25001");
    EXPECT_EQ(sqlstate(database, "SELECT 1; " + call(job)), "25001");
    EXPECT_EQ(sqlstate(database, call("4711")), "42704");
    EXPECT_EQ(sqlstate(database, call(job, "'-1 s'")), "22023");
    EXPECT_EQ(sqlstate(database, call("NULL")), "22004");
    EXPECT_EQ(sqlstate(database, call(job, "NULL")), "22004");
}

TEST_P(extension_wait_for, lets_a_role_wait_for_its_own_jobs_alone) {
    database.exec("CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; SELECT haul.grant_producer('ann')");
    session ann(dsn + " user=ann");
    session bob(dsn + " user=bob");
    const auto own = ann.text("INSERT INTO haul.jobs (kind) VALUES ('k') RETURNING id");
    EXPECT_EQ(sqlstate(ann, call(enqueue("kind, run_at", "'k', now() + interval '1 day'"))), "42704");
    EXPECT_EQ(sqlstate(bob, call(own)), "42501");
    begin(ann, call(own));
    complete("{\"n\": 1}");
    EXPECT_EQ(await_end(ann).at(0).at(1), "{\"n\": 1}");
}

TEST_P(extension_wait_for, holds_nothing_while_it_waits) {
    session waiting(dsn);
    begin(waiting, call(enqueue()));
    const std::vector<value> pid{std::to_string(waiting.backend_pid())};
    EXPECT_EQ(database.exec("SELECT backend_xmin, backend_xid FROM pg_stat_activity WHERE pid = $1", pid),
              (rows{{std::nullopt, std::nullopt}}));
    EXPECT_EQ(database.exec(
                  "SELECT relation::regclass FROM pg_locks WHERE pid = $1 AND locktype <> 'virtualxid'", pid),
              rows{});
    database.exec("SET lock_timeout = '5s'; LOCK TABLE haul.jobs IN ACCESS EXCLUSIVE MODE");
    EXPECT_TRUE(waiting.busy());
}

TEST_P(extension_wait_for, ends_with_its_client) {
    session waiting(dsn);
    begin(waiting, call(enqueue()));
    ::close(PQsocket(waiting.handle()));
    wait_until(
        [&] {
            return database.truth("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)",
                                  {std::to_string(waiting.backend_pid())});
        },
        "the session has ended");
}

TEST_P(extension_wait_for, can_be_cancelled) {
    session waiting(dsn);
    const auto job = enqueue();
    begin(waiting, call(job));
    database.exec("SELECT pg_cancel_backend($1)", {std::to_string(waiting.backend_pid())});
    try {
        await_end(waiting);
        FAIL() << "it returned";
    } catch (const sql_error& error) {
        EXPECT_EQ(error.sqlstate(), "57014");
    }
    EXPECT_EQ(waiting.exec(call(job, "'0'")).at(0).at(0), "ready") << "the session can go on";
}

TEST_P(extension_wait_for, does_not_hold_up_a_shutdown) {
    session waiting(dsn);
    begin(waiting, call(enqueue()));
    const auto began = steady_clock::now();
    server.stop("fast");
    EXPECT_LT(steady_clock::now() - began, 20s);
    EXPECT_THROW(await_end(waiting), sql_error);
}

TEST_P(extension_wait_for, works_through_a_pooler) {
    pooler between(server);
    session pooled(between.dsn("haul_test"));
    const auto job = enqueue();
    pooled.send(call(job));
    wait_until(
        [&] {
            return database.truth(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND "
                "query LIKE 'CALL haul.wait_for%')");
        },
        "the session waits");
    complete();
    EXPECT_EQ(await_end(pooled).at(0).at(0), "completed");
}

} // namespace
} // namespace haul::test
