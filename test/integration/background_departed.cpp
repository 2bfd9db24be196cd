// A worker whose session ends without a word is lost, and others get its jobs, long before its heartbeats
// would be missed: unless it comes back in time. Only where the session is the worker's own does it stand for
// it.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

class background_departed : public testing::Test {
protected:
    explicit background_departed(const std::string& grace = "500ms")
        : server{{true, {{"haul.reconnect_grace", grace}, {"max_prepared_transactions", "2"}}}},
          dsn{server.create_database()},
          database{dsn} {
        await_served(database);
    }

    bool registered(const std::string& worker) {
        return database.truth("SELECT EXISTS (SELECT FROM haul.workers WHERE id = $1 AND lost_at IS NULL)",
                              {worker});
    }
    void await_departure_of(const std::string& worker) {
        wait_until([&] { return !registered(worker); }, "worker " + worker + " is lost");
    }

    // A session of a new worker, which holds a job.
    session at_work(const std::string& wake) {
        database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        session worker(dsn);
        last = worker.text("SELECT haul.register_worker('w', $1)", {"{\"wake\": \"" + wake + "\"}"});
        EXPECT_EQ(worker.exec("SELECT haul.checkout($1)", {last}).size(), 1u);
        return worker;
    }

    cluster server;
    std::string dsn;
    session database;
    std::string last; // id of the worker made last
};

TEST_F(background_departed, its_jobs_go_to_others_at_once) {
    { const session worker = at_work("worker"); }
    const std::string gone = last;
    waiting_worker heir(dsn);
    EXPECT_EQ(heir.work(), 0);
    heir.await_call(soon);
    EXPECT_EQ(heir.work(), 1);
    EXPECT_FALSE(registered(gone));
    EXPECT_EQ(database.exec("SELECT attempt, interruptions FROM haul.finished_jobs"), (rows{{"1", "0"}}));
    EXPECT_EQ(database.number("SELECT sum(releases) FROM haul.counters"), 1);
}

TEST_F(background_departed, by_the_hand_of_an_administrator_as_well) {
    const session worker = at_work("worker");
    EXPECT_TRUE(database.truth("SELECT pg_terminate_backend($1)", {std::to_string(worker.backend_pid())}));
    await_departure_of(last);
    EXPECT_EQ(database.text("SELECT state FROM haul.jobs"), "ready");
}

TEST_F(background_departed, one_that_waited_as_well) {
    auto worker = std::make_unique<waiting_worker>(dsn);
    EXPECT_EQ(worker->work(), 0);
    const std::string id = worker->id();
    worker.reset();
    await_departure_of(id);
}

TEST_F(background_departed, one_that_only_sent_a_heartbeat_as_well) {
    const std::string id = database.text("SELECT haul.register_worker('w', '{\"wake\": \"worker\"}')");
    EXPECT_TRUE(session(dsn).truth("SELECT haul.heartbeat($1)", {id}));
    await_departure_of(id);
}

TEST_F(background_departed, the_others_stay_until_their_heartbeats_are_missed) {
    std::vector<std::string> others;
    for (const char* const wake : {"queue", "none"}) {
        const session worker = at_work(wake);
        others.push_back(last);
    }
    { const session worker = at_work("worker"); }
    await_departure_of(last); // which left after them
    for (const std::string& other : others)
        EXPECT_TRUE(registered(other));
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 2);
}

TEST_F(background_departed, not_while_another_session_of_it_is_there) {
    session second = at_work("worker");
    const std::string stays = last;
    EXPECT_TRUE(session(dsn).truth("SELECT haul.heartbeat($1)", {stays})); // has come and gone
    { const session witness = at_work("worker"); }
    await_departure_of(last);
    EXPECT_TRUE(registered(stays));
}

TEST_F(background_departed, having_said_goodbye_it_is_forgotten) {
    auto worker = std::make_unique<waiting_worker>(dsn);
    EXPECT_EQ(worker->work(), 0);
    worker->connection().exec("SELECT haul.unregister_worker($1)", {worker->id()});
    const log_watch log(server);
    worker.reset();
    { const session witness = at_work("worker"); }
    await_departure_of(last);
    EXPECT_EQ(log.complaints(), "");
}

TEST_F(background_departed, while_its_database_was_not_served_is_noticed_later) {
    server.set("haul.databases", "\"no database\"");
    await_unserved(database);
    { const session worker = at_work("worker"); }
    server.set("haul.databases", "*");
    await_departure_of(last);
    EXPECT_EQ(database.text("SELECT state FROM haul.jobs"), "ready");
}

// Nobody can tell yet what it holds, and nobody waits until that is settled.
TEST_F(background_departed, not_while_its_last_checkout_is_prepared) {
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    const std::string prepared = database.text("SELECT haul.register_worker('w', '{\"wake\": \"worker\"}')");
    {
        session worker(dsn);
        worker.exec("BEGIN");
        EXPECT_EQ(worker.exec("SELECT haul.checkout($1)", {prepared}).size(), 1u);
        worker.exec("PREPARE TRANSACTION 'checkout'");
    }
    { const session witness = at_work("worker"); }
    await_departure_of(last); // which left after it
    EXPECT_TRUE(registered(prepared));
    database.exec("COMMIT PREPARED 'checkout'");
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE worker_id = $1", {prepared}), 1);
    server.set("haul.worker_timeout", "1s");
    await_departure_of(prepared);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 2);
}

// How a worker's new session makes itself known.
class background_returned : public background_departed, public testing::WithParamInterface<const char*> {
protected:
    background_returned() : background_departed("3s") {}
};

TEST_P(background_returned, within_the_grace_it_keeps_its_row_and_its_jobs) {
    { const session worker = at_work("worker"); }
    session again(dsn);
    again.exec(GetParam(), {last});
    const std::string returned = last;
    { const session witness = at_work("worker"); }
    await_departure_of(last); // which left after it
    EXPECT_TRUE(registered(returned));
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE worker_id = $1", {returned}), 1);

    again = session(dsn); // and gone for good
    await_departure_of(returned);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 2);
}

INSTANTIATE_TEST_SUITE_P(, background_returned,
                         testing::Values("SELECT haul.checkout($1)", "SELECT haul.heartbeat($1)",
                                         "SELECT haul.reconcile($1, (SELECT array_agg(id) FROM haul.jobs),"
                                         " (SELECT array_agg(claim) FROM haul.jobs))"),
                         [](const auto& info) {
                             const std::string call = info.param;
                             return call.substr(12, call.find('(') - 12);
                         });

} // namespace
} // namespace haul::test
