// The worker program and the connection that stands for it, with the background workers watching.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/process.hpp"
#include "support/waiting_worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class background_program : public testing::Test {
protected:
    background_program() {
        await_served(database);
        database.exec(
            "INSERT INTO haul.jobs (kind, args) SELECT 'nap', '{\"seconds\": 6}' FROM generate_series(1, 2)");
        wait_until(
            [&] {
                return database.number("SELECT count(*) FROM haul.jobs WHERE started_at IS NOT NULL") == 2;
            },
            "the program has taken the jobs");
        id = database.text("SELECT id FROM haul.workers");
    }

    // Its silence would be noticed after a minute.
    cluster server{{true, {{"haul.reconnect_grace", "3s"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
    worker_process program{
        dsn, "haul:\n  max_threads: 2\n  handlers:\n    nap: {builtin: sleep}\n", {"--identifier", "only"}};
    std::string id;
};

TEST_F(background_program, killed_its_jobs_go_to_others_at_once) {
    program->kill();
    waiting_worker heir(dsn);
    wait_until([&] { return database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'") == 2; },
               "the jobs are released", soon);
    EXPECT_EQ(database.exec("SELECT id FROM haul.workers"), (rows{{heir.id()}}));
    EXPECT_EQ(heir.work_until_idle(), 2);
    EXPECT_EQ(
        database.number("SELECT count(*) FROM haul.finished_jobs WHERE interruptions = 1 AND attempt = 2"),
        2);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(background_program, cut_off_it_comes_back_in_time_with_both_hands_full) {
    for (int round = 0; round < 2; ++round) {
        const std::string terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                      " WHERE application_name LIKE 'haul worker only%'";
        wait_until([&] { return database.number(terminate) >= 1; }, "a connection has been terminated");
    }
    wait_until([&] { return database.number("SELECT count(*) FROM haul.finished_jobs") == 2; },
               "the jobs are done");
    EXPECT_EQ(database.exec("SELECT id FROM haul.workers"), (rows{{id}}));
    EXPECT_EQ(
        database.number("SELECT count(*) FROM haul.finished_jobs WHERE claim = 1 AND state = 'completed'"),
        2);
    EXPECT_THAT(check(dsn), IsEmpty());
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.workers"), 0);
}

TEST_F(background_program, told_to_stop_leaves_nothing_to_release) {
    const log_watch log(server);
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.workers"), 0);
    // It gives back, uncharged, what it has not begun.
    EXPECT_EQ(database.number("SELECT (SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed')"
                              " + (SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND attempt = 0)"),
              2);
    EXPECT_EQ(log.complaints(), "");
}

} // namespace
} // namespace haul::test
