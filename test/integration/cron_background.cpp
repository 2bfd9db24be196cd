// The background worker fires schedules: nobody calls haul.maintain() here, and no worker lives.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>

namespace haul::test {
namespace {

class cron_background : public testing::Test {
protected:
    std::int64_t runs() { return database.number("SELECT count(*) FROM haul.cron_runs"); }

    void await_runs(std::int64_t count, std::chrono::milliseconds limit = patience) {
        wait_until([&] { return runs() >= count; }, "there are " + std::to_string(count) + " runs", limit);
    }

    // What was ever fired, apart from the latest second: the ticks of each second, once each, each with its
    // job.
    void expect_every_second_once() {
        EXPECT_EQ(database.text("SELECT count(*) - extract(epoch FROM max(run_at) - min(run_at))::bigint "
                                "FROM haul.cron_runs"),
                  "1");
        EXPECT_EQ(
            database.number("SELECT count(*) FROM haul.cron_runs AS r FULL JOIN haul.jobs AS j"
                            " ON j.id = r.job_id AND j.run_at = r.run_at WHERE r.id IS NULL OR j.id IS NULL"),
            0);
    }

    cluster server;
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(cron_background, fires_each_second_once) {
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('s', '* * * * * *', 'k', 'allow')");
    await_runs(2);
    const pid_t worker = background_of(database).worker;
    EXPECT_NE(worker, 0);
    await_runs(61, 90s);
    EXPECT_EQ(background_of(database).worker, worker) << "between ticks that near the worker stays";
    database.exec("UPDATE haul.cron SET enabled = false");
    expect_every_second_once();
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.cron_runs WHERE fired_at < run_at"), 0);
}

TEST_F(cron_background, takes_notice_of_schedules_that_come_change_and_go) {
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('s', '@yearly', 'k', 'allow')");
    database.exec("UPDATE haul.cron SET schedule = '1 second'");
    await_runs(1);
    database.exec("UPDATE haul.cron SET enabled = false");
    const std::int64_t before = runs();
    expect_all_along([&] { return runs() == before; }, "nothing fires", 3s);
    database.exec("UPDATE haul.cron SET enabled = true");
    await_runs(before + 1);
    database.exec("DELETE FROM haul.cron");
    const std::int64_t after = runs();
    expect_all_along([&] { return runs() == after; }, "nothing fires", 3s);

    // in a transaction, when that commits
    database.exec("BEGIN; INSERT INTO haul.cron (name, schedule, kind) VALUES ('t', '1 second', 'k');"
                  "SAVEPOINT a; UPDATE haul.cron SET schedule = '@yearly'; ROLLBACK TO a; COMMIT");
    await_runs(after + 1);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE cron_name = 't'"), 1);
}

TEST_F(cron_background, comes_back_for_a_tick) {
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('s', '15 seconds', 'k', 'allow')");
    await_runs(1);
    wait_until([&] { return background_of(database).worker == 0; }, "the worker has left");
    await_runs(2);
    EXPECT_EQ(database.text("SELECT DISTINCT extract(second FROM run_at)::integer % 15 FROM haul.cron_runs"),
              "0");
}

TEST_F(cron_background, goes_on_after_a_restart_without_being_asked) {
    database.exec("INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES"
                  " ('s', '1 second', 'k', 'allow'), ('boot', '@reboot', 'k', 'skip')");
    await_runs(2);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.cron_runs WHERE name = 'boot'"), 0);
    server.restart();
    database = session(dsn); // which only looks
    await_runs(database.number("SELECT count(*) FROM haul.cron_runs") + 2);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.cron_runs WHERE name = 'boot'"), 1);
    database.exec("UPDATE haul.cron SET enabled = false; DELETE FROM haul.jobs WHERE cron_name = 'boot';"
                  "DELETE FROM haul.cron_runs WHERE name = 'boot'");
    expect_every_second_once();
}

TEST_F(cron_background, passes_over_what_others_have_locked) {
    database.exec("INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES"
                  " ('locked', '1 second', 'k', 'allow'), ('free', '1 second', 'k', 'allow')");
    await_runs(2);
    session other(dsn);
    other.exec("BEGIN; SELECT FROM haul.cron WHERE name = 'locked' FOR UPDATE");
    const auto fired = [&](const std::string& name) {
        return database.number("SELECT count(*) FROM haul.cron_runs WHERE name = $1", {name});
    };
    const std::int64_t locked = fired("locked"), free = fired("free");
    wait_until([&] { return fired("free") >= free + 3; }, "the other schedule fires");
    EXPECT_EQ(fired("locked"), locked);
    other.exec("COMMIT");
    wait_until([&] { return fired("locked") >= locked + 3; }, "what was locked is made up for");
}

TEST_F(cron_background, a_pass_that_fails_is_tried_again_and_keeps_nobody_from_work) {
    await_served(database);
    database.exec(R"sql(
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no, thanks'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON haul.cron_runs FOR EACH ROW EXECUTE FUNCTION refuse();
    )sql");
    const log_watch log(server);
    database.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('s', '1 second', 'k')");
    wait_until([&] { return log.count("no, thanks") >= 1; }, "a pass has failed");
    waiting_worker worker(dsn);
    for (int round = 0; round < 5; ++round) {
        EXPECT_EQ(worker.work_until_idle(), round == 0 ? 0 : 1);
        database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        worker.await_call(soon);
    }
    database.exec("DROP TRIGGER refuse ON haul.cron_runs");
    await_runs(1);
}

TEST_F(cron_background, in_a_database_that_is_to_be_dropped_stands_in_nobodys_way) {
    database.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('s', '1 second', 'k')");
    await_runs(1);
    database = session(server.dsn());
    EXPECT_NO_THROW(database.exec("DROP DATABASE haul_test"));
}

} // namespace
} // namespace haul::test
