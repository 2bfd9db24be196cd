// The server crashes: what it kept in shared memory is gone, and nothing is missed for it.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

class background_crash : public testing::Test {
protected:
    background_crash() { await_served(database); }

    void crash() {
        server.kill();
        server.start();
        database = session(dsn);
    }

    // A transaction open at the other side of the crash, with a job that is due before all others.
    void prepare_early_job() {
        session other(dsn);
        other.exec("BEGIN; INSERT INTO haul.jobs (kind, run_at) VALUES ('early', now() - interval '1 day');"
                   "PREPARE TRANSACTION 'early'");
    }

    // A sweep would find what was missed, but within an hour.
    cluster server{{true, {{"max_prepared_transactions", "5"}, {"haul.sweep_interval", "1h"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(background_crash, floors_and_waiting_sessions_begin_anew) {
    database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
    {
        waiting_worker worker(dsn);
        EXPECT_EQ(worker.work_until_idle(), 10);
        EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE floor_id IS NOT NULL"), 1);
        crash();
    }
    await_served(database);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE floor_id IS NOT NULL OR generation = 0"),
              0);
    EXPECT_EQ(background_of(database).waiting, 0);

    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work(), 0);
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(background_crash, a_job_prepared_before_is_found_when_it_is_committed) {
    prepare_early_job();
    crash();
    await_served(database);
    waiting_worker worker(dsn);
    session poll(dsn);
    const std::string id = poll.text("SELECT haul.register_worker('w', '{\"wake\": \"none\"}')");
    database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
    EXPECT_EQ(worker.work_until_idle(), 10); // which would raise the floor, were it not held
    poll.send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    wait_until([&] { return background_of(database).waiting == 2; }, "both wait");
    database.exec("COMMIT PREPARED 'early'");
    wait_until([&] { return worker.called() || !poll.busy(); }, "one of them is called", soon);
    EXPECT_EQ(worker.work(), poll.busy() ? 1 : 0);
    EXPECT_EQ(database.number("SELECT sum(found_below) FROM haul.lanes"), 0);
}

TEST_F(background_crash, a_job_prepared_before_and_rolled_back_holds_nothing_up) {
    prepare_early_job();
    crash();
    await_served(database);
    waiting_worker worker(dsn);
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    EXPECT_EQ(worker.work_until_idle(), 1);
    const std::string floors = "SELECT count(*) FROM haul.lanes WHERE floor_id IS NOT NULL";
    EXPECT_EQ(database.number(floors), 0);
    database.exec("ROLLBACK PREPARED 'early'");
    wait_until(
        [&] {
            EXPECT_EQ(worker.work_until_idle(), 0);
            return database.number(floors) == 1;
        },
        "the floor has risen", soon);
}

TEST_F(background_crash, a_future_job_of_before_is_started_on_time) {
    database.exec("INSERT INTO haul.jobs (kind, run_at) VALUES ('k', clock_timestamp() + interval '6 s')");
    crash();
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work(), 0);
    await_served(database);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
    EXPECT_LT(
        database.number("SELECT extract(epoch FROM clock_timestamp() - run_at) FROM haul.finished_jobs"), 5);
}

TEST_F(background_crash, a_worker_of_before_that_does_not_come_back_is_noticed) {
    server.set("haul.worker_timeout", "3s");
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    session lost(dsn);
    EXPECT_EQ(
        lost.exec("SELECT haul.checkout(haul.register_worker('lost', '{\"wake\": \"worker\"}'))").size(), 1u);
    lost.exec("CHECKPOINT"); // lest the crash undo the claim
    crash();
    waiting_worker heir(dsn);
    EXPECT_EQ(heir.work(), 0);
    heir.await_call();
    EXPECT_EQ(heir.work(), 1);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.workers WHERE name = 'lost' AND lost_at IS NULL"),
              0);
}

} // namespace
} // namespace haul::test
