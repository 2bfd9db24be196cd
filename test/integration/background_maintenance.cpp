// All maintenance is done in the background: no worker program runs here, and nobody calls haul.maintain().
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/waiting_worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class background_maintenance : public testing::Test {
protected:
    void await(const std::string& condition) {
        wait_until([&] { return database.truth("SELECT coalesce((" + condition + "), false)"); }, condition);
    }

    cluster server{
        {true,
         {{"haul.maintenance_interval", "1s"}, {"haul.worker_timeout", "3s"}, {"haul.lost_timeout", "1s"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(background_maintenance, removes_silent_workers_and_releases_their_jobs) {
    database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
    session alive(dsn);
    const std::string lively = alive.text("SELECT haul.register_worker('alive')");
    // one of which nothing is heard any more, although its session is there; nothing else happens
    EXPECT_EQ(database.exec("SELECT haul.checkout(haul.register_worker('silent'), 2)").size(), 2u);
    wait_until(
        [&] {
            EXPECT_TRUE(alive.truth("SELECT haul.heartbeat($1)", {lively}));
            return database.number("SELECT count(*) FROM haul.workers") == 1;
        },
        "one worker has been removed");
    EXPECT_EQ(database.text("SELECT name FROM haul.workers"), "alive");
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 3);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE interruptions = 1"), 2);
}

TEST_F(background_maintenance, removes_silent_workers_of_before_a_crash) {
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_EQ(database.exec("SELECT haul.checkout(haul.register_worker('w'))").size(), 1u);
    server.restart("immediate");
    database = session(dsn); // which only looks
    await("NOT EXISTS (SELECT FROM haul.workers)");
    EXPECT_EQ(database.text("SELECT state FROM haul.jobs"), "ready");
}

TEST_F(background_maintenance, discards_jobs_past_their_queue_timeout) {
    database.exec(
        "INSERT INTO haul.jobs (kind, queue_timeout) SELECT 'k', '100 ms' FROM generate_series(1, 10)");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'discarded') = 10");
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(background_maintenance, folds_the_counters) {
    database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work_until_idle(), 10);
    await("NOT EXISTS (SELECT FROM haul._ledger WHERE NOT sum) AND NOT EXISTS (SELECT FROM haul._leases)");
    EXPECT_EQ(database.text("SELECT sum(dispatches) || ' ' || sum(completions) FROM haul.counters"), "10 10");
}

TEST_F(background_maintenance, folds_whatever_isolation_clients_ask_for) {
    database.exec("ALTER DATABASE " + database.text("SELECT current_database()") +
                  " SET default_transaction_isolation = 'serializable'");
    server.restart();
    session again(dsn);
    again.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work_until_idle(), 10);
    wait_until([&] { return again.truth("SELECT NOT EXISTS (SELECT FROM haul._ledger WHERE NOT sum)"); },
               "the counters are folded");
}

// Not while there is no worker: the history may be about to come from a dump.
TEST_F(background_maintenance, makes_leaves_of_the_history_ahead_of_time_and_drops_old_ones) {
    const auto leaf = [this](const std::string& when) {
        return database.text("SELECT to_char((" + when +
                             ") AT TIME ZONE 'UTC', '\"haul.finished_jobs_\"YYYYMMDD_HH24')");
    };
    const auto exists = [this](const std::string& table) {
        return database.truth("SELECT to_regclass($1) IS NOT NULL", {table});
    };
    database.exec("SELECT haul._add_history(now() - interval '3 days')");
    const std::string old = leaf("now() - interval '3 days'"), next = leaf("now() + interval '1 hour'");
    database.exec("SELECT haul.register_worker('w')");
    database.exec("DROP TABLE IF EXISTS " + next);
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')"); // something happens
    wait_until(
        [&] {
            database.exec(
                "UPDATE haul.workers SET last_heartbeat_at = now()"); // it lives, and makes no leaves itself
            return !exists(old) && exists(next);
        },
        "leaves have come and gone");
}

TEST_F(background_maintenance, waits_for_nobody) {
    waiting_worker worker(dsn, "worker", R"("queues": ["other"])"); // for which the history is made ready
    session other(dsn);
    other.exec("BEGIN");
    wait_until([&] { return other.truth("SELECT (haul.maintain() -> 'ran')::boolean"); }, "the pass is ours");
    database.exec("INSERT INTO haul.jobs (kind, queue_timeout) VALUES ('k', '1 ms')");

    // As long as that pass is open, the background worker has none, and works on.
    for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(worker.work_until_idle(), 0);
        database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'other')");
        worker.await_call(soon);
        EXPECT_EQ(worker.work(), 1);
    }
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs"), 1);
    other.exec("COMMIT");
    await("NOT EXISTS (SELECT FROM haul.jobs)");
}

TEST_F(background_maintenance, that_fails_is_tried_again_and_keeps_nobody_from_work) {
    await_served(database);
    database.exec(R"sql(
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no, thanks'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON haul.workers FOR EACH ROW EXECUTE FUNCTION refuse();
    )sql");
    const log_watch log(server);
    database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 2)");
    EXPECT_EQ(database.exec("SELECT haul.checkout(haul.register_worker('silent'), 1)").size(), 1u);
    await("(SELECT last_error FROM haul.duties WHERE name = 'remove workers') LIKE 'no, thanks%'");
    expect_all_along([&] { return log.count("no, thanks") <= 1; }, "it is logged once", 5s);

    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work_until_idle(), 2) << "among them what the silent one held";
    for (int round = 0; round < 5; ++round) {
        database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        worker.await_call(soon);
        EXPECT_EQ(worker.work_until_idle(), 1);
    }
    database.exec("DROP TRIGGER refuse ON haul.workers");
    await("NOT EXISTS (SELECT FROM haul.workers WHERE name = 'silent')");
    await_served(database);
}

} // namespace
} // namespace haul::test
