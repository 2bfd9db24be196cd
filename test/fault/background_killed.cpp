// Background workers are terminated and killed: no call is lost, and somebody else takes over.
#include "support/background.hpp"
#include "support/process.hpp"
#include "support/waiting_worker.hpp"
#include "support/workload.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class background_killed : public testing::Test {
protected:
    background_killed() { await_served(database); }

    void insert() { database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')"); }

    pid_t await_background_worker() {
        pid_t pid = 0;
        wait_until([&] { return (pid = background_of(database).worker) != 0; },
                   "there is a background worker");
        return pid;
    }
    void terminate(pid_t process) {
        database.exec("SELECT pg_terminate_backend($1)", {std::to_string(process)});
    }

    cluster server;
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(background_killed, the_worker_of_a_database_is_replaced) {
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work(), 0);
    const pid_t first = await_background_worker();
    terminate(first);
    wait_until(
        [&] {
            const background now = background_of(database);
            return now.served && now.worker != 0 && now.worker != first;
        },
        "there is another one");
    EXPECT_EQ(background_of(database).waiting, 1);
    insert();
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(background_killed, the_worker_with_calls_to_make_leaves_them_to_the_next) {
    waiting_worker worker(dsn), other(dsn, "queue");
    session poll(dsn);
    EXPECT_EQ(worker.work() + other.work(), 0);
    const std::string id = poll.text("SELECT haul.register_worker('w')");
    poll.send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    wait_until([&] { return background_of(database).waiting == 3; }, "all wait");
    {
        const pid_t pid = await_background_worker();
        const frozen background(pid);
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
        terminate(pid);
    }
    worker.await_call(soon);
    other.await_call(soon);
    EXPECT_EQ(worker.work() + other.work(), 2);
    EXPECT_NE(poll.finish().at(0).at(0), "[]");
}

// The call that a worker leaves behind comes with the next one, and each time the launcher waits twice as
// long before it starts that: up to 8 s after the fourth.
TEST_F(background_killed, again_and_again_no_call_is_lost) {
    waiting_worker worker(dsn);
    int terminations = 0;
    for (int round = 0; round < 30; ++round) {
        EXPECT_EQ(worker.work_until_idle(), 0);
        const pid_t pid = background_of(database).worker;
        insert();
        if (pid != 0 && terminations < 4) {
            terminate(pid);
            ++terminations;
        }
        worker.await_call();
        EXPECT_EQ(worker.work(), 1);
    }
    await_served(database);
}

TEST_F(background_killed, the_launcher_comes_back_and_serves_who_waits_all_along) {
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work(), 0);
    await_background_worker();
    const pid_t launcher = background_of(database).launcher;
    terminate(launcher);
    wait_until([&] { return background_of(database).launcher != launcher; }, "the launcher has ended");
    insert();
    worker.await_call(soon);
    EXPECT_EQ(worker.work_until_idle(), 1);

    wait_until([&] { return background_of(database).launcher != 0; }, "the launcher has come back");
    await_served(database);
    insert();
    worker.await_call(soon);
    EXPECT_EQ(worker.work_until_idle(), 1);
    session(server.create_database("another")).exec("SELECT 1");
    session another(server.dsn("another"));
    await_served(another);
}

// SIGKILL makes the server restart all of its processes.
TEST_F(background_killed, by_force_under_load_each_job_ends_exactly_once) {
    workload load(dsn);
    worker_process program(dsn, workload::yaml(), {"--identifier", "one", "--threads", "1:3"});
    producer producing(dsn);
    const auto work_goes_on = [&] {
        const std::int64_t before = load.completed();
        wait_until([&] { return load.completed() >= before + 50; }, "50 more jobs have completed");
    };
    for (int crash = 0; crash < 3; ++crash) {
        work_goes_on();
        database = session(dsn);
        ASSERT_EQ(::kill(await_background_worker(), SIGKILL), 0);
        wait_until(
            [&] {
                try {
                    database.exec("SELECT");
                    return false;
                } catch (const sql_error&) {
                    return true;
                }
            },
            "the server restarts");
    }
    work_goes_on();
    producing.stop();
    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    database = session(dsn);
    await_served(database);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs WHERE state <> 'completed'"), 0);
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

} // namespace
} // namespace haul::test
