// Many who wait, many lanes, and what all that costs.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/waiting_worker.hpp"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

constexpr int sessions = 300;

class background_waiters : public testing::Test {
protected:
    explicit background_waiters(std::map<std::string, std::string> settings = {{"max_connections", "400"}})
        : server{{true, std::move(settings)}}, dsn{server.create_database()}, database{dsn} {
        await_served(database);
    }

    void insert(int jobs) {
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, $1)",
                      {std::to_string(jobs)});
    }

    cluster server;
    std::string dsn;
    session database;
};

TEST_F(background_waiters, hundreds_that_listen_run_everything_and_few_come_for_one_job) {
    std::vector<std::unique_ptr<waiting_worker>> workers;
    const auto add = [&](int count, const std::string& wake) {
        for (int n = 0; n < count; ++n) {
            workers.push_back(std::make_unique<waiting_worker>(dsn, wake));
            EXPECT_EQ(workers.back()->work(), 0);
        }
    };
    int calls = 0;
    const auto come = [&] {
        int done = 0;
        for (auto& worker : workers)
            if (worker->called()) {
                ++calls;
                done += worker->work_until_idle();
            }
        return done;
    };
    int done = 0;

    add(sessions, "worker");
    EXPECT_EQ(background_of(database).waiting, sessions);
    for (int round = 1; round <= 20; ++round) {
        insert(1);
        wait_until([&] { return (done += come()) == round; }, "the job is done");
    }
    EXPECT_LE(calls, 2 * 20); // one may be slow to come, and be called again

    add(50, "queue");
    insert(1000);
    wait_until([&] { return (done += come()) == 1020; }, "the jobs are done");
    wait_until([&] { return come() == 0 && background_of(database).waiting == sessions + 50; },
               "all wait again");
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(background_waiters, of_hundreds_of_long_polls_as_many_return_as_there_are_jobs) {
    std::vector<session> polls;
    for (int n = 0; n < sessions; ++n) {
        polls.emplace_back(dsn);
        const std::string id = polls.back().text("SELECT haul.register_worker('w', '{\"wake\": \"none\"}')");
        polls.back().send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    }
    wait_until([&] { return background_of(database).waiting == sessions; }, "all wait");
    const auto returned = [&] {
        return std::count_if(polls.begin(), polls.end(), [](session& s) { return !s.busy(); });
    };

    insert(100);
    wait_until([&] { return returned() == 100; }, "a hundred have returned");
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 100);
    insert(sessions);
    wait_until([&] { return returned() == sessions; }, "all have returned");
    for (session& poll : polls)
        EXPECT_EQ(poll.finish().size(), 1u);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), sessions);
    EXPECT_THAT(check(dsn), IsEmpty());
}

// By whatever way they wait.
TEST_F(background_waiters, of_hundreds_that_take_something_else_none_is_woken) {
    std::vector<std::unique_ptr<waiting_worker>> listeners;
    std::vector<session> polls;
    for (int n = 0; n < 80; ++n) {
        for (const char* wake : {"worker", "queue"}) {
            listeners.push_back(std::make_unique<waiting_worker>(dsn, wake, R"("kinds": ["another"])"));
            EXPECT_EQ(listeners.back()->work(), 0);
        }
        polls.emplace_back(dsn);
        const std::string id =
            polls.back().text("SELECT haul.register_worker('w', '{\"kinds\": [\"another\"]}')");
        polls.back().send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    }
    wait_until([&] { return background_of(database).waiting == 240; }, "all wait");
    const auto before = background_of(database).wakeups;
    for (int n = 0; n < 50; ++n)
        insert(1);
    EXPECT_EQ(background_of(database).wakeups, before);

    // What nobody waited for is there for the first that takes it, and the next is called for.
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work_until_idle(), 50);
    insert(1);
    worker.await_call();
    EXPECT_EQ(background_of(database).wakeups, before + 1);
    EXPECT_EQ(worker.work(), 1);
    EXPECT_TRUE(std::all_of(polls.begin(), polls.end(), [](session& poll) { return poll.busy(); }));
}

TEST_F(background_waiters, do_not_keep_the_server_from_shutting_down) {
    std::vector<std::unique_ptr<waiting_worker>> listeners;
    std::vector<session> polls;
    for (int n = 0; n < 20; ++n) {
        listeners.push_back(std::make_unique<waiting_worker>(dsn));
        EXPECT_EQ(listeners.back()->work(), 0);
        polls.emplace_back(dsn);
        const std::string id = polls.back().text("SELECT haul.register_worker('w')");
        polls.back().send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    }
    wait_until([&] { return background_of(database).waiting == 40; }, "all wait");
    const auto begin = std::chrono::steady_clock::now();
    server.stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, soon);

    server.start();
    database = session(dsn);
    await_served(database);
    EXPECT_EQ(background_of(database).waiting, 0);
}

TEST_F(background_waiters, shared_memory_is_small) {
    const auto bytes = [](session& of) {
        return of.number("SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'pg_haul%'");
    };
    // By default, most of it is room for lanes, which is touched only when they come.
    EXPECT_LT(bytes(database), 64 << 20);
    cluster few{{true, {{"haul.max_lanes", "1024"}}}};
    session database_of_few(few.create_database());
    EXPECT_LT(bytes(database_of_few), 4 << 20);
    EXPECT_GT(bytes(database_of_few), 0);
}

// With and without a place for each lane.
class background_lanes : public background_waiters, public testing::WithParamInterface<int> {
protected:
    background_lanes() : background_waiters({{"haul.max_lanes", std::to_string(GetParam())}}) {}

    static constexpr int lanes = 1000;

    // A job in each lane.
    void insert_everywhere(const std::string& when) {
        database.exec("INSERT INTO haul.jobs (kind, queue, priority, run_at)"
                      " SELECT 'k', 'queue ' || n % 100, 1 + n / 100, " +
                      when + " FROM generate_series(0, " + std::to_string(lanes - 1) + ") AS n");
    }
};

INSTANTIATE_TEST_SUITE_P(, background_lanes, testing::Values(1024, 16), testing::PrintToStringParamName());

TEST_P(background_lanes, by_the_thousand_have_their_jobs_done_now_and_when_they_fall_due) {
    waiting_worker worker(dsn);
    const auto done_in_time = [&] {
        int done = 0;
        wait_until([&] { return (done += worker.called() ? worker.work_until_idle() : 0) == lanes; },
                   "the jobs are done");
    };
    for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(worker.work_until_idle(), 0);
        insert_everywhere("now()");
        done_in_time();
        insert_everywhere("clock_timestamp() + interval '2 s'");
        done_in_time();
    }
    EXPECT_LE(database.number("SELECT count(*) FROM haul.lanes"), GetParam());
    EXPECT_EQ(database.number("SELECT sum(found_below) FROM haul.lanes"), 0);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_P(background_lanes, a_new_one_among_many_is_woken_for_when_its_job_falls_due) {
    waiting_worker worker(dsn);
    insert_everywhere("now()"); // from the first to the last, lanes take the places there are
    EXPECT_EQ(worker.work_until_idle(), lanes);
    database.exec("INSERT INTO haul.jobs (kind, queue, run_at) VALUES ('k', 'late', clock_timestamp() + "
                  "interval '1 s')");
    EXPECT_FALSE(worker.called());
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

} // namespace
} // namespace haul::test
