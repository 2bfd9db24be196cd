// The setting haul.databases chooses which databases are served, and may change its mind at any time.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <atomic>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

class background_databases : public testing::Test {
protected:
    void insert(const std::string& dsn) { session(dsn).exec("INSERT INTO haul.jobs (kind) VALUES ('k')"); }

    cluster server;
    std::string one = server.create_database("one");
    std::string two = server.create_database("two");
};

TEST_F(background_databases, all_are_served_by_default) {
    for (const std::string& dsn : {one, two}) {
        session database(dsn);
        await_served(database);
    }
}

TEST_F(background_databases, only_those_on_the_list_are_served_and_the_others_work_without) {
    server.create_database("Mixed-Case");
    const log_watch log(server);
    server.set("haul.databases", "one, \"Mixed-Case\", \"there is no such database\"");
    session listed(one), quoted(server.dsn("Mixed-Case")), other(two);
    await_unserved(other);
    await_served(listed);
    await_served(quoted);

    waiting_worker worker(two);
    EXPECT_EQ(worker.work(), 0);
    insert(two);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(background_of(other).worker, 0);
    EXPECT_EQ(log.complaints(), "");
}

TEST_F(background_databases, an_unserved_one_is_served_again_as_soon_as_it_is_listed) {
    session database(one);
    await_served(database);
    waiting_worker worker(one);
    EXPECT_EQ(worker.work(), 0);
    for (const std::string list : {"two", "one", "", "*"}) {
        server.set("haul.databases", list);
        list == "one" || list == "*" ? await_served(database, soon) : await_unserved(database);
        insert(one);
        worker.await_call(soon);
        EXPECT_EQ(worker.work_until_idle(), 1);
    }
    wait_until([&] { return background_of(database).worker != 0; },
               "the background worker is with who waits");
}

// The transaction began when enqueuers had to notify themselves, and ends when they need not any more.
TEST_F(background_databases, who_listens_hears_of_a_job_of_before_it_was_served) {
    session database(one), enqueuer(one), listener(one);
    server.set("haul.databases", "two");
    await_unserved(database);
    listener.exec("LISTEN haul");
    enqueuer.exec("BEGIN; INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'new')");
    server.set("haul.databases", "*");
    await_served(database);
    enqueuer.exec("COMMIT");
    wait_until([&] { return !listener.notifications().empty(); }, "the listener hears of it", soon);
}

TEST_F(background_databases, a_list_that_is_none_is_refused) {
    session database(one);
    await_served(database);
    const log_watch log(server);
    EXPECT_THROW(server.set("haul.databases", "one,,two"), sql_error);
    EXPECT_TRUE(background_of(database).served);
}

// What the background worker was told but did not pass on before it had to leave.
TEST_F(background_databases, a_call_that_the_background_worker_did_not_pass_on_before_it_left_is_heard) {
    session database(one);
    await_served(database);
    waiting_worker worker(one);
    EXPECT_EQ(worker.work(), 0);
    wait_until([&] { return background_of(database).worker != 0; },
               "the background worker is with who waits");
    {
        const frozen background(background_of(database).worker);
        insert(one);
        server.set("haul.databases", "two");
        await_unserved(database);
    }
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(background_databases,
       a_worker_that_is_slow_to_leave_does_not_keep_its_database_from_being_served_again) {
    session database(one);
    await_served(database);
    waiting_worker worker(one);
    EXPECT_EQ(worker.work(), 0);
    wait_until([&] { return background_of(database).worker != 0; },
               "the background worker is with who waits");
    {
        const frozen background(background_of(database).worker);
        server.set("haul.databases", "two");
        await_unserved(database);
        server.set("haul.databases", "*");
        insert(two); // so that the launcher has come around before the worker goes on
        session other(two);
        wait_until([&] { return other.truth("SELECT current_setting('haul.databases') = '*'"); },
                   "all are listed");
    }
    await_served(database, soon);
    insert(one);
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(background_databases, no_call_is_lost_while_the_setting_changes_all_the_time) {
    std::atomic<bool> stopping{false};
    std::thread changing([&] {
        for (int n = 0; !stopping; ++n) {
            server.set("haul.databases", n % 2 ? "*" : "two");
            std::this_thread::sleep_for(std::chrono::milliseconds(n % 20));
        }
    });
    std::string problem;
    try {
        waiting_worker worker(one);
        session poller(one);
        const std::string id = poller.text("SELECT haul.register_worker('poller', '{\"wake\": \"none\"}')");
        for (int round = 0; round < 150; ++round) {
            EXPECT_EQ(worker.work_until_idle(), 0);
            insert(one);
            worker.await_call(soon);
            EXPECT_EQ(worker.work(), 1);

            poller.send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
            insert(one);
            wait_until([&] { return !poller.busy(); }, "the long poll has ended", soon);
            EXPECT_NE(poller.finish().at(0).at(0), "[]");
        }
    } catch (const std::exception& error) {
        problem = error.what();
    }
    stopping = true;
    changing.join();
    EXPECT_EQ(problem, "");
}

} // namespace
} // namespace haul::test
