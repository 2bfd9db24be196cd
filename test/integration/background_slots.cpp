// More databases than background workers: nobody waits in vain for one.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/process.hpp"
#include "support/waiting_worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class background_slots : public testing::Test {
protected:
    // A server with room for the launcher and so many workers.
    std::unique_ptr<cluster> server_with(int workers) {
        return std::make_unique<cluster>(
            cluster_options{true,
                            {{"max_worker_processes", std::to_string(1 + workers)},
                             {"max_logical_replication_workers", "0"}, // or its launcher takes one
                             {"haul.lost_timeout", "1s"}, // until then somebody watches over who is lost
                             {"haul.maintenance_interval", "1s"}}});
    }

    void insert(const std::string& dsn, int jobs = 1) {
        session(dsn).exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, $1)",
                          {std::to_string(jobs)});
    }

    std::string refusal(cluster& server, const std::string& database) {
        return "pg_haul cannot start its worker for database " +
               session(server.dsn()).text("SELECT oid FROM pg_database WHERE datname = $1", {database}) +
               "\n";
    }
};

TEST_F(background_slots, without_any_the_operator_is_told_once_and_everything_works) {
    const auto server = server_with(0);
    const std::string dsn = server->create_database("one");
    const log_watch log(*server);
    const std::string refused = refusal(*server, "one");
    wait_until([&] { return (server->log() + '\n').find(refused) != std::string::npos; }, "it is in the log");
    EXPECT_NE(
        server->log().find("HINT:  Consider increasing the configuration parameter \"max_worker_processes\""),
        std::string::npos);

    // Each of these asks for a worker.
    waiting_worker worker(dsn), all(dsn, "queue");
    for (int round = 0; round < 20; ++round) {
        EXPECT_EQ(worker.work_until_idle() + all.work_until_idle(), 0);
        insert(dsn);
        wait_until([&] { return worker.called() || all.called(); }, "one of them is called");
        EXPECT_EQ(worker.work_until_idle() + all.work_until_idle(), 1);
    }
    const background seen = background_of(worker.connection());
    EXPECT_NE(seen.launcher, 0);
    EXPECT_EQ(seen.worker, 0);
    EXPECT_FALSE(seen.served);
    const std::string text = server->log();
    const std::size_t first = text.find(refused);
    EXPECT_EQ(text.find(refused, first + 1), std::string::npos);
    EXPECT_EQ(log.complaints(), "");
}

TEST_F(background_slots, without_any_jobs_are_run) {
    const auto server = server_with(0);
    const std::string dsn = server->create_database("one");
    session database(dsn);
    worker_process program(dsn, "haul:\n  handlers:\n    k: {builtin: noop}\n");
    wait_until([&] { return database.number("SELECT count(*) FROM haul.workers") == 1; },
               "the worker is there");
    for (int round = 0; round < 3; ++round) { // the later ones find it waiting
        insert(dsn, 100);
        wait_until([&] { return !database.truth("SELECT EXISTS (SELECT FROM haul.jobs)"); },
                   "the jobs are done", soon);
    }
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
    database.exec("SELECT haul.maintain()");
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(background_slots, when_one_becomes_free_who_lacked_it_gets_it) {
    const auto server = server_with(1);
    const std::string one = server->create_database("one"), two = server->create_database("two");
    auto holder = std::make_unique<waiting_worker>(one);
    EXPECT_EQ(holder->work(), 0);
    wait_until([&] { return background_of(holder->connection()).worker != 0; }, "the first has the only one");

    waiting_worker worker(two);
    for (int round = 0; round < 10; ++round) { // each asks for a worker again
        EXPECT_EQ(worker.work(), 0);
        await_unserved(worker.connection());
        insert(two);
        worker.await_call();
        EXPECT_EQ(worker.work(), 1);
    }
    EXPECT_EQ(worker.work(), 0);
    holder.reset();
    await_served(worker.connection());
    insert(two);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(background_slots, all_databases_have_their_turn) {
    const auto server = server_with(2);
    std::vector<std::string> databases;
    for (int n = 0; n < 6; ++n)
        databases.push_back(server->create_database("number_" + std::to_string(n)));
    for (const std::string& dsn : databases) {
        session database(dsn);
        await_served(database);
        database.exec("INSERT INTO haul.jobs (kind, queue_timeout) VALUES ('k', '1 ms')");
    }
    for (const std::string& dsn : databases) {
        session database(dsn);
        wait_until([&] { return database.number("SELECT count(*) FROM haul.finished_jobs") == 1; },
                   "it has been maintained");
    }
}

TEST_F(background_slots, in_all_databases_who_waits_is_called) {
    const auto server = server_with(2);
    std::vector<std::string> databases;
    std::vector<std::unique_ptr<waiting_worker>> workers;
    for (int n = 0; n < 6; ++n) {
        databases.push_back(server->create_database("number_" + std::to_string(n)));
        workers.push_back(std::make_unique<waiting_worker>(databases.back()));
    }
    for (int round = 0; round < 3; ++round) {
        for (auto& worker : workers)
            worker->work_until_idle();
        for (const std::string& dsn : databases)
            insert(dsn);
        for (auto& worker : workers)
            worker->await_call();
    }
}

// The launcher is slow to find out that there is no worker to be had.
TEST_F(background_slots, no_call_is_left_to_a_worker_that_does_not_come) {
    const auto server = server_with(1);
    const std::string one = server->create_database("one"), two = server->create_database("two");
    session second(two);
    await_served(second);
    wait_until([&] { return background_of(second).worker == 0; }, "the worker of the second has ended");
    waiting_worker holder(one);
    EXPECT_EQ(holder.work(), 0);
    wait_until([&] { return background_of(holder.connection()).worker != 0; }, "the first has the only one");
    ASSERT_TRUE(background_of(second).served);

    waiting_worker worker(two);
    {
        const frozen launcher(background_of(second).launcher);
        EXPECT_EQ(worker.work(), 0);
        insert(two);
    }
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

} // namespace
} // namespace haul::test
