// A hot standby serves nobody, until it is promoted.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/waiting_worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class background_standby : public testing::Test {
protected:
    background_standby() { await_served(session_of(primary)); }

    session& session_of(cluster& server) {
        last = std::make_unique<session>(server.dsn("haul_test"));
        return *last;
    }

    void catch_up() {
        session primary_session(primary.dsn()), standby_session(standby.dsn());
        const std::string end = primary_session.text("SELECT pg_current_wal_flush_lsn()");
        wait_until([&] { return standby_session.truth("SELECT pg_last_wal_replay_lsn() >= $1", {end}); },
                   "the standby has caught up");
    }

    void promote() {
        primary.stop("immediate");
        EXPECT_TRUE(session(standby.dsn()).truth("SELECT pg_promote()"));
    }

    cluster primary{{true, {{"max_prepared_transactions", "5"}, {"haul.sweep_interval", "1h"}}}};
    std::string dsn = primary.create_database("haul_test");
    cluster standby{{true, {{"haul.maintenance_interval", "1s"}}, &primary}};
    std::unique_ptr<session> last;
};

TEST_F(background_standby, does_nothing_and_says_nothing) {
    const log_watch log(standby);
    session(dsn).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    catch_up();
    session& database = session_of(standby);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs"), 1);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes"), 0);
    expect_all_along(
        [&] {
            const background seen = background_of(database);
            return seen.preloaded && seen.launcher == 0 && seen.worker == 0 && !seen.served;
        },
        "nobody works on the standby", 3s);
    EXPECT_THROW(database.exec("SELECT haul.checkout(haul.register_worker('w'))"), sql_error);
    EXPECT_THROW(database.exec("SELECT haul.checkout(1)"), sql_error);
    EXPECT_EQ(log.count("background worker"), 0) << log.text();
}

TEST_F(background_standby, calls_that_write_are_refused_in_plain_words) {
    session& database = session_of(standby);
    for (const char* call :
         {"SELECT haul.maintain()", "SELECT haul.heartbeat(1)", "SELECT haul.reconcile(1, '{}', '{}')",
          "SELECT haul.register_worker('w')", "SELECT haul.unregister_worker(1)", "SELECT haul.checkout(1)",
          "CALL haul.checkout_wait(1)", "SELECT haul.start(1, '{1}', '{1}')",
          "SELECT haul.complete(1, '{1}', '{1}')", "SELECT haul.fail(1, 1, 1, 'e')",
          "SELECT haul.discard(1, 1, 1, 'r')", "SELECT haul.cancelled(1, 1, 1, 'r')",
          "SELECT haul.snooze(1, 1, 1, '1 s')", "SELECT haul.release(1, '{1}', '{1}')",
          "SELECT haul.progress(1, 1, 1, '1')", "SELECT haul.watch_workers()",
          "SELECT haul.cleanup_workers()"})
        try {
            database.exec(call);
            ADD_FAILURE() << call << " was not refused";
        } catch (const sql_error& error) {
            EXPECT_EQ(error.sqlstate(), "25006") << call;
            EXPECT_THAT(error.what(), testing::HasSubstr("during recovery")) << call;
        }
}

TEST_F(background_standby, promoted_it_goes_on_where_the_primary_left_off) {
    {
        session database(dsn);
        waiting_worker worker(dsn);
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 100)");
        EXPECT_EQ(worker.work(40), 40);
        EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE floor_id IS NOT NULL"), 1);
        database.exec("SELECT haul.maintain()"); // some counts are folded, others are not
        EXPECT_EQ(worker.work(20), 20);
        // jobs of a worker that will not come back, and one to come
        EXPECT_EQ(database.exec("SELECT haul.checkout(haul.register_worker('lost'), 10)").size(), 10u);
        database.exec(
            "INSERT INTO haul.jobs (kind, run_at) VALUES ('late', clock_timestamp() + interval '8 s')");
        database.exec(
            "BEGIN; INSERT INTO haul.jobs (kind, run_at) VALUES ('early', now() - interval '1 day');"
            "PREPARE TRANSACTION 'early'");
    }
    catch_up();
    promote();
    session& database = session_of(standby);
    await_served(database);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE floor_id IS NOT NULL"), 0);

    waiting_worker worker(standby.dsn("haul_test"));
    EXPECT_EQ(worker.work_until_idle(), 30);
    database.exec("COMMIT PREPARED 'early'");
    worker.await_call(soon);
    EXPECT_EQ(worker.work_until_idle(), 1);
    worker.await_call();
    EXPECT_EQ(worker.work_until_idle(), 1);
    EXPECT_EQ(database.exec("SELECT kind FROM haul.finished_jobs ORDER BY finished_at DESC LIMIT 2"),
              (rows{{"late"}, {"early"}}));
    EXPECT_GE(database.number("SELECT extract(epoch FROM finished_at - run_at) * 1000 FROM haul.finished_jobs"
                              " WHERE kind = 'late'"),
              0);

    database.exec("DELETE FROM haul.workers WHERE name = 'lost'");
    worker.await_call(soon);
    EXPECT_EQ(worker.work_until_idle(), 10);
    EXPECT_EQ(database.number("SELECT sum(dispatches) FROM haul.counters"), 102);
    EXPECT_EQ(database.number("SELECT sum(retries) FROM haul.counters"), 10);
    EXPECT_EQ(database.number("SELECT sum(completions) FROM haul.counters"), 102);
    EXPECT_EQ(database.number("SELECT sum(found_below) FROM haul.lanes"), 0);
    EXPECT_THAT(check(standby.dsn("haul_test")), IsEmpty());
}

} // namespace
} // namespace haul::test
