// Who is told of new jobs in a served database: workers that wait, as many as there are jobs for them.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/waiting_worker.hpp"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <list>

namespace haul::test {
namespace {

using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;

class extension_wakeups : public ::testing::Test {
protected:
    extension_wakeups() { await_served(database); }

    void enqueue(const std::string& queue, int jobs = 1, const std::string& kind = "k") {
        database.exec("INSERT INTO haul.jobs (kind, queue) SELECT $1, $2 FROM generate_series(1, $3)",
                      {kind, queue, std::to_string(jobs)});
    }

    // Whoever was to be called before has been called when this returns.
    void await_earlier_calls() {
        EXPECT_EQ(last_.work(), 0);
        last_.connection().exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'last')");
        last_.await_call();
        EXPECT_EQ(last_.work(), 1);
    }

    // A worker that waits: for all that this test enqueues, unless it is told otherwise.
    waiting_worker& wait(const std::string& options = R"("queues": ["q", "r"])",
                         const std::string& wake = "worker") {
        workers_.emplace_back(dsn, wake, options);
        EXPECT_EQ(workers_.back().work(), 0);
        return workers_.back();
    }

    cluster server{{true, {{"max_prepared_transactions", "4"}}}};
    std::string dsn = server.create_database();
    session database{dsn};

private:
    std::list<waiting_worker> workers_;
    waiting_worker last_{dsn, "worker", R"("queues": ["last"])"};
};

auto heard(const std::string& channel, const std::string& payload) {
    return AllOf(Field(&notification::channel, channel), Field(&notification::payload, payload));
}

std::vector<notification> await_notifications(session& listener) {
    std::vector<notification> arrived;
    wait_until(
        [&] {
            arrived = listener.notifications();
            return !arrived.empty();
        },
        "there is a notification");
    return arrived;
}

TEST_F(extension_wakeups, name_the_queue) {
    waiting_worker& worker = wait("", "queue");
    const std::string queue = R"(a;b:c"d'e🙂 \ %s)";
    enqueue(queue, 3);
    EXPECT_THAT(await_notifications(worker.connection()), ElementsAre(heard("haul", queue)));
}

TEST_F(extension_wakeups, go_to_one_worker_alone) {
    waiting_worker& worker = wait();
    session listener(dsn);
    listener.exec("LISTEN haul");
    enqueue("q", 3);
    EXPECT_THAT(await_notifications(worker.connection()),
                ElementsAre(heard("haul_worker_" + worker.id(), "")));
    await_earlier_calls();
    EXPECT_TRUE(listener.notifications().empty());
}

TEST_F(extension_wakeups, reach_also_those_who_only_listen) {
    session listener(dsn);
    listener.exec("LISTEN haul");
    enqueue("q", 3);
    EXPECT_THAT(await_notifications(listener), ElementsAre(heard("haul", "q")));
}

TEST_F(extension_wakeups, are_for_what_commits) {
    waiting_worker& worker = wait(R"("queues": ["rolled back", "rolled back to", "committed"])", "queue");
    database.exec("BEGIN");
    enqueue("rolled back");
    database.exec("ROLLBACK");
    database.exec("BEGIN; SAVEPOINT s");
    enqueue("rolled back to");
    database.exec("ROLLBACK TO SAVEPOINT s; COMMIT");
    await_earlier_calls();
    EXPECT_FALSE(worker.called());
    database.exec("BEGIN; SAVEPOINT s");
    enqueue("committed");
    database.exec("RELEASE SAVEPOINT s");
    await_earlier_calls();
    EXPECT_FALSE(worker.called());
    database.exec("COMMIT");
    EXPECT_THAT(await_notifications(worker.connection()), ElementsAre(heard("haul", "committed")));
}

TEST_F(extension_wakeups, are_as_many_as_there_are_jobs) {
    std::vector<waiting_worker*> workers;
    for (int n = 0; n < 5; ++n)
        workers.push_back(&wait());
    const auto called = [&] {
        return std::count_if(workers.begin(), workers.end(), [](waiting_worker* w) { return w->called(); });
    };
    enqueue("q", 2);
    wait_until([&] { return called() == 2; }, "two are called");
    // Those that have waited longest.
    ASSERT_TRUE(workers[0]->called());
    EXPECT_EQ(workers[0]->work(10), 2);
    ASSERT_TRUE(workers[1]->called());
    EXPECT_EQ(workers[1]->work(10), 0);
    await_earlier_calls();
    EXPECT_EQ(called(), 0);

    // Who has as much as it asked for is not called.
    enqueue("q", 2);
    wait_until([&] { return called() == 2; }, "two are called");
    EXPECT_EQ(workers[2]->work(2), 2);
    enqueue("q", 5);
    wait_until([&] { return called() == 4; }, "the others are called");
    await_earlier_calls();
    EXPECT_FALSE(workers[2]->called());
}

TEST_F(extension_wakeups, are_for_those_whom_the_queue_concerns) {
    std::vector<waiting_worker*> others{&wait(R"("queues": ["other"])"), &wait(R"("namespace": "q")"),
                                        &wait(R"("max_priority": 100)"), &wait(R"("min_priority": 20000)")};
    waiting_worker& worker = wait(R"("queues": ["q", "other"], "min_priority": 101, "max_priority": 16383)");
    enqueue("q");
    worker.await_call();
    await_earlier_calls();
    for (waiting_worker* other : others)
        EXPECT_FALSE(other->called());
    EXPECT_EQ(worker.work(), 1);

    enqueue("q.q");
    others[1]->await_call();
}

// A chain in which each would be called a second later than the one before, if that did nothing.
TEST_F(extension_wakeups, are_passed_on_by_those_who_may_not_take_the_job) {
    std::vector<waiting_worker*> others;
    for (int n = 0; n < 4; ++n) {
        others.push_back(&wait(R"("kinds": ["another"])"));
        others.push_back(&wait(R"("exclude": ["q"])"));
    }
    waiting_worker& worker = wait();
    const auto began = steady_clock::now();
    enqueue("q");
    for (waiting_worker* other : others) {
        other->await_call();
        EXPECT_EQ(other->work(), 0);
    }
    worker.await_call();
    EXPECT_LT(steady_clock::now() - began, 6s);
    EXPECT_EQ(worker.work(), 1);
    // Those who passed it on wait again.
    enqueue("q", 1, "another");
    others[0]->await_call();
}

TEST_F(extension_wakeups, are_passed_on_by_those_who_take_something_else) {
    waiting_worker& first = wait(R"("queues": ["q", "r"])");
    session second(dsn);
    second.send("CALL haul.checkout_wait(haul.register_worker('second', '{\"queues\": [\"r\"]}'), 1, '1 h')");
    wait_until([&] { return background_of(database).waiting == 2; }, "both wait");
    enqueue("r");
    enqueue("q");
    first.await_call();
    EXPECT_TRUE(second.busy());
    const frozen nobody_else(background_of(database).worker);
    EXPECT_EQ(first.work(), 1);
    wait_until([&] { return !second.busy(); }, "the second has taken what the first left");
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs WHERE queue = 'q'"), 1);
}

TEST_F(extension_wakeups, are_passed_on_for_those_who_do_not_come) {
    waiting_worker& first = wait();
    waiting_worker& second = wait();
    enqueue("q");
    first.await_call();
    second.await_call(5s);
    EXPECT_EQ(second.work(), 1);
    EXPECT_EQ(first.work(), 0);
}

TEST_F(extension_wakeups, are_passed_on_at_once_by_a_session_that_ends) {
    waiting_worker second(dsn);
    {
        waiting_worker first(dsn);
        EXPECT_EQ(first.work(), 0);
        EXPECT_EQ(second.work(), 0);
        const frozen nobody_else(background_of(database).worker);
        enqueue("q");
    }
    second.await_call();
    EXPECT_EQ(second.work(), 1);
}

TEST_F(extension_wakeups, come_when_a_job_falls_due) {
    waiting_worker& worker = wait();
    database.exec(
        "INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('much later', 'q', now() + interval '1 day'), "
        "('later', 'q', now() + interval '1 s')");
    worker.await_call();
    EXPECT_TRUE(
        database.truth("SELECT clock_timestamp() BETWEEN run_at AND run_at + interval '1 s' FROM haul.jobs "
                       "WHERE kind = 'later'"));
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(worker.work(), 0);

    database.exec("UPDATE haul.jobs SET run_at = now() + interval '1 s'");
    worker.await_call();
    EXPECT_TRUE(
        database.truth("SELECT clock_timestamp() BETWEEN run_at AND run_at + interval '1 s' FROM haul.jobs"));
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(extension_wakeups, come_when_a_job_is_ready_again) {
    const std::string other = database.text("SELECT haul.register_worker('other')");
    waiting_worker& worker = wait();
    for (const char* give_back : {
             "SELECT haul.fail($1, id, claim, 'e', retry_in => '0') FROM haul.jobs",
             "SELECT haul.fail($1, id, claim, 'e', retry_in => '300 ms') FROM haul.jobs",
             "SELECT haul.fail($1, id, claim, 'e', retry_in => '0', retry_queue => 'r') FROM haul.jobs",
             "SELECT haul.snooze($1, id, claim, '0') FROM haul.jobs",
             "SELECT haul.snooze($1, id, claim, '300 ms') FROM haul.jobs",
             "SELECT haul.release($1, ARRAY[id], ARRAY[claim]) FROM haul.jobs",
             "SELECT haul.reconcile($1, '{}', '{}')",
             "DELETE FROM haul.workers WHERE id = $1",
         }) {
        database.exec("BEGIN"); // nobody else sees the job before it is checked out
        enqueue("q");
        database.exec("SELECT haul.checkout($1)", {other});
        database.exec("COMMIT");
        await_earlier_calls();
        EXPECT_EQ(worker.work(), 0);

        database.exec("BEGIN");
        database.exec(give_back, {other});
        await_earlier_calls();
        EXPECT_FALSE(worker.called()) << give_back;
        database.exec("COMMIT");
        worker.await_call();
        EXPECT_EQ(worker.work(), 1) << give_back;
        EXPECT_EQ(worker.work(), 0);
    }
}

TEST_F(extension_wakeups, come_when_a_checkout_is_rolled_back) {
    const std::string other = database.text("SELECT haul.register_worker('other')");
    enqueue("q", 3);
    database.exec("BEGIN");
    EXPECT_EQ(database.exec("SELECT haul.checkout($1)", {other}).size(), 1u);
    database.exec("SAVEPOINT s");
    EXPECT_EQ(database.exec("SELECT haul.checkout($1, 2)", {other}).size(), 2u);
    std::vector<waiting_worker*> workers{&wait(), &wait(), &wait()};
    const auto called = [&] {
        return std::count_if(workers.begin(), workers.end(), [](waiting_worker* w) { return w->called(); });
    };

    database.exec("ROLLBACK TO SAVEPOINT s");
    wait_until([&] { return called() == 2; }, "two are called");
    EXPECT_EQ(workers[0]->work(), 1);
    EXPECT_EQ(workers[1]->work(), 1);
    database.exec("ROLLBACK");
    workers[2]->await_call();
    EXPECT_EQ(workers[2]->work(), 1);
}

TEST_F(extension_wakeups, come_when_a_session_dies_with_its_checkout) {
    enqueue("q");
    session dying(dsn);
    dying.exec("BEGIN; SELECT haul.checkout(haul.register_worker('dying'))");
    waiting_worker& worker = wait();
    database.exec("SELECT pg_terminate_backend($1)", {std::to_string(dying.backend_pid())});
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
}

TEST_F(extension_wakeups, come_when_a_prepared_transaction_ends) {
    waiting_worker& worker = wait();
    database.exec("BEGIN");
    enqueue("q");
    database.exec("PREPARE TRANSACTION 'enqueued'");
    await_earlier_calls();
    EXPECT_FALSE(worker.called());
    database.exec("COMMIT PREPARED 'enqueued'");
    worker.await_call(5s);
    EXPECT_EQ(worker.work(), 1);

    enqueue("q");
    database.exec(
        "BEGIN; SELECT haul.checkout(haul.register_worker('other')); PREPARE TRANSACTION 'checked out'");
    EXPECT_EQ(worker.work(), 0);
    database.exec("ROLLBACK PREPARED 'checked out'");
    worker.await_call(5s);
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(worker.work(), 0);

    database.exec(
        "BEGIN; INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('later', 'q', now() + interval '2 s');"
        "PREPARE TRANSACTION 'enqueued for later'");
    database.exec("COMMIT PREPARED 'enqueued for later'");
    wait_until([&] { return worker.called() && worker.work() == 1; }, "it is called when the job is due");
}

} // namespace
} // namespace haul::test
