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

    // How many waiting sessions this wakes. They are woken before the commit returns.
    template <typename Action>
    std::int64_t wakeups_of(Action&& action) {
        const auto before = background_of(database).wakeups;
        action();
        return background_of(database).wakeups - before;
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

TEST_F(extension_wakeups, are_for_as_many_as_have_room_for_the_jobs_the_last_that_began_to_wait_first) {
    std::vector<waiting_worker*> workers;
    for (int n = 0; n < 5; ++n)
        workers.push_back(&wait());
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 2); }), 2);
    workers[4]->await_call();
    workers[3]->await_call();
    EXPECT_EQ(workers[4]->work(10), 2);
    EXPECT_EQ(workers[3]->work(10), 0); // and nobody is called in its place

    // One has room for both. Who then has as much as it asked for does not wait any more.
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 2); }), 1);
    workers[3]->await_call();
    EXPECT_EQ(workers[3]->work(2), 2);
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 9); }), 2);
    workers[4]->await_call();
    workers[2]->await_call();
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 5); }), 2);
    workers[1]->await_call();
    workers[0]->await_call();
    EXPECT_EQ(wakeups_of([&] { enqueue("q"); }), 0);
    EXPECT_FALSE(workers[3]->called());
}

// However many wait besides. A machine that is busy may be slow to come, and have others called.
TEST_F(extension_wakeups, are_few_while_one_that_was_woken_has_room) {
    for (int n = 0; n < 8; ++n)
        EXPECT_EQ(wait().work(100), 0);
    const auto wakeups = wakeups_of([&] {
        for (int round = 0; round < 10; ++round)
            database.exec(
                "DO $$ BEGIN FOR n IN 1..10 LOOP INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'q');"
                " COMMIT; END LOOP; END $$");
    });
    EXPECT_LE(wakeups, 8);
    EXPECT_GE(wakeups, 1);
}

TEST_F(extension_wakeups, are_for_those_whom_the_queue_concerns) {
    std::vector<waiting_worker*> others{&wait(R"("queues": ["other"])"), &wait(R"("namespace": "q")"),
                                        &wait(R"("max_priority": 100)"), &wait(R"("min_priority": 20000)")};
    waiting_worker& worker = wait(R"("queues": ["q", "other"], "min_priority": 101, "max_priority": 16383)");
    EXPECT_EQ(wakeups_of([&] { enqueue("q"); }), 1);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(wakeups_of([&] { enqueue("r"); }), 0);

    enqueue("q.q");
    others[1]->await_call();
}

TEST_F(extension_wakeups, pass_by_those_who_may_not_take_the_job) {
    waiting_worker& worker = wait();
    std::vector<waiting_worker*> others;
    for (int n = 0; n < 4; ++n) {
        others.push_back(&wait(R"("kinds": ["another"])"));
        others.push_back(&wait(R"("exclude": ["q"])"));
    }
    EXPECT_EQ(wakeups_of([&] { enqueue("q"); }), 1);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 20, "another"); }), 4);
    EXPECT_EQ(wakeups_of([&] { enqueue("r", 20); }), 4);
    EXPECT_EQ(wakeups_of([&] { enqueue("q", 20); }), 0);
}

// Strictly pinned jobs, and those that name workers to avoid; all that wait here have one name.
TEST_F(extension_wakeups, heed_the_names_of_workers) {
    session named(dsn);
    named.send("CALL haul.checkout_wait(haul.register_worker('named', '{\"wake\": \"none\"}'), 2, '1 h')");
    wait_until([&] { return background_of(database).waiting == 1; }, "it waits");
    std::vector<waiting_worker*> others{&wait(), &wait(), &wait()};
    EXPECT_EQ(wakeups_of([&] {
                  database.exec(
                      "INSERT INTO haul.jobs (kind, queue, pin, pin_strict) VALUES ('k', 'q', 'x', true)");
              }),
              0);
    EXPECT_EQ(wakeups_of([&] {
                  database.exec("INSERT INTO haul.jobs (kind, queue, avoid) VALUES ('k', 'q', '{waiting}')");
              }),
              1);
    EXPECT_EQ(named.finish().size(), 1u);
    for (waiting_worker* other : others)
        EXPECT_FALSE(other->called());
}

// A worker with so many kinds that not all are known is woken for others, too, and passes them on.
TEST_F(extension_wakeups, are_passed_on_by_those_of_whom_it_is_not_known_what_they_take) {
    std::string kinds = R"("kinds": [)";
    for (int n = 0; n < 200; ++n)
        kinds += (n > 0 ? ", \"" : "\"") + std::string{"kind "} + std::to_string(n) + '"';
    waiting_worker& worker = wait();
    waiting_worker& vague = wait(kinds + "]");
    EXPECT_EQ(wakeups_of([&] { enqueue("q"); }), 1);
    vague.await_call();
    const frozen nobody_else(background_of(database).worker);
    EXPECT_EQ(vague.work(), 0);
    worker.await_call();
    EXPECT_EQ(worker.work(), 1);
    enqueue("q", 1, "kind 199");
    vague.await_call();
    EXPECT_EQ(vague.work(), 1);
}

// Of a transaction that enqueues many kinds not all are noted.
TEST_F(extension_wakeups, reach_the_right_ones_among_many_kinds) {
    std::vector<waiting_worker*> workers;
    for (int n = 0; n < 20; ++n)
        workers.push_back(&wait(R"("queues": ["q"], "kinds": ["kind )" + std::to_string(n) + R"("])"));
    const frozen nobody_else(background_of(database).worker);
    database.exec(
        "INSERT INTO haul.jobs (kind, queue) SELECT 'kind ' || n, 'q' FROM generate_series(0, 19) AS n");
    int done = 0;
    wait_until(
        [&] {
            for (waiting_worker* worker : workers)
                done += worker->called() ? worker->work() : 0;
            return done == 20;
        },
        "all are done");
}

TEST_F(extension_wakeups, are_passed_on_by_those_who_take_something_else) {
    session second(dsn);
    second.send("CALL haul.checkout_wait(haul.register_worker('second', '{\"queues\": [\"r\"]}'), 1, '1 h')");
    wait_until([&] { return background_of(database).waiting == 1; }, "it waits");
    waiting_worker& first = wait(R"("queues": ["q", "r"])");
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
    waiting_worker& second = wait();
    waiting_worker& first = wait();
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
        EXPECT_EQ(second.work(), 0);
        EXPECT_EQ(first.work(), 0);
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
        worker.await_call();
        EXPECT_EQ(worker.work(), 0);

        database.exec("BEGIN");
        EXPECT_EQ(wakeups_of([&] { database.exec(give_back, {other}); }), 0) << give_back;
        const auto wakeups = wakeups_of([&] { database.exec("COMMIT"); });
        EXPECT_EQ(wakeups, std::string(give_back).find("300 ms") == std::string::npos ? 1 : 0) << give_back;
        // A busy machine may have reminded it meanwhile of what it has been told before.
        wait_until([&] { return worker.called() && worker.work() == 1; }, "it has the job");
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

    EXPECT_EQ(wakeups_of([&] { database.exec("ROLLBACK TO SAVEPOINT s"); }), 2);
    for (int n : {2, 1}) {
        workers[n]->await_call();
        EXPECT_EQ(workers[n]->work(), 1);
    }
    database.exec("ROLLBACK");
    wait_until([&] { return workers[0]->called() && workers[0]->work() == 1; },
               "the third has the third job");
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
