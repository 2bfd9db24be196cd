#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <mutex>

namespace haul::test {
namespace {

class worker_dispatch : public worker_fixture {
protected:
    /// Statements that the worker's connections have run, by pg_stat_activity; they change when it asks
    /// something.
    std::string last_query(const std::string& purpose) {
        return sql.text(
            "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity WHERE application_name LIKE"
            " 'haul worker w " +
            purpose + "%' AND datname = current_database()");
    }
    void await_registration() { await("(SELECT count(*) FROM haul.workers) = 1"); }
};

TEST_F(worker_dispatch, is_woken_by_a_commit) {
    worker w{options()};
    w.on("k", [](const job_context&) {});
    w.start();
    const auto first = enqueue("k"); // its end shows that the worker has looked for the first time
    await_end(first);
    const auto begun = std::chrono::steady_clock::now();
    await_end(enqueue("k", "queue", "'a;b:c\"d''e🙂'"));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s) << "polling alone would take a minute";
    w.stop();
    w.join();
}

TEST_F(worker_dispatch, is_woken_by_a_commit_in_the_middle_of_another_statement) {
    auto how = options();
    how.heartbeat_interval = 5s;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    await_end(enqueue("k"));
    session blocking{dsn};
    blocking.exec("BEGIN");
    blocking.exec(
        "LOCK TABLE haul.workers IN ACCESS EXCLUSIVE MODE"); // a heartbeat waits for this, for a moment
    await("EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'haul worker w fetch'"
          " AND datname = current_database() AND wait_event_type = 'Lock')");
    const auto id = enqueue("k");
    const auto begun = std::chrono::steady_clock::now();
    blocking.exec("COMMIT");
    await_end(id);
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 4s) << "the next heartbeat would notice, too";
    w.stop();
    w.join();
}

// Which a checkout ends on its way, but not all at once.
TEST_F(worker_dispatch, is_not_empty_while_jobs_stand_behind_many_that_expired) {
    sql.exec("INSERT INTO haul.jobs (kind, run_at, expires_at) SELECT 'k', now() - interval '1 hour', now()"
             " FROM generate_series(1, 2200)");
    const auto id = enqueue("k");
    auto how = options();
    how.exit_when_empty = true;
    how.wait = wait_mode::poll;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    w.join();
    EXPECT_EQ(ended(id, "state"), "completed");
}

TEST_F(worker_dispatch, without_listening_it_polls) {
    auto how = options();
    how.wait = wait_mode::poll;
    how.polling_interval = 100ms;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    await_end(enqueue("k"));
    await_end(enqueue("k"));
    EXPECT_EQ(sql.number("SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'listen%'"
                         " AND datname = current_database()"),
              0);
    w.stop();
    w.join();
}

TEST_F(worker_dispatch, asks_nothing_while_idle_and_a_foreign_queue_does_not_wake_it) {
    auto how = options();
    how.queues = {{"mine", 1}};
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    await_end(enqueue("k", "queue", "'mine'"));
    std::string before;
    wait_until(
        [&] { // two looks alike, some time apart: it has come to rest
            const auto now = last_query("fetch");
            const bool same = now == before;
            before = now;
            if (!same)
                sql.exec("SELECT pg_sleep(0.2)");
            return same;
        },
        "the worker is idle");
    enqueue("k", "queue", "'other'");
    sql.exec("SELECT pg_sleep(0.5)"); // the time in which a wake-up would show
    EXPECT_EQ(last_query("fetch"), before);
    await_end(enqueue("k", "queue", "'mine'"));
    EXPECT_NE(last_query("fetch"), before) << "this is how a wake-up shows";
    w.stop();
    w.join();
}

TEST_F(worker_dispatch, a_future_job_starts_on_time) {
    worker w{options()};
    std::atomic<double> late{-1};
    w.on("k", [&](const job_context& job) {
        late = std::chrono::duration<double>(std::chrono::system_clock::now() - job.run_at()).count();
    });
    w.start();
    await_registration();
    await_end(enqueue("k", "run_at", "now() + interval '1.5 s'"));
    EXPECT_GE(late, 0);
    EXPECT_LT(late, 1.0) << "seconds; the next poll is a minute away";
    w.stop();
    w.join();
}

TEST_F(worker_dispatch, runs_as_many_jobs_at_a_time_as_it_may) {
    for (int i = 0; i < 12; ++i)
        enqueue("k");
    auto how = options();
    how.exit_when_empty = true;
    worker w{how};
    std::atomic<int> running{0}, most{0};
    w.on("k", [&](const job_context& job) {
        const int now = ++running;
        int before = most;
        while (before < now && !most.compare_exchange_weak(before, now)) {
        }
        job.wait_for(100ms);
        --running;
    });
    w.start();
    w.join();
    EXPECT_EQ(most, 4);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs"), 12);
}

TEST_F(worker_dispatch, takes_nothing_ahead_that_it_cannot_run_soon) {
    for (int i = 0; i < 20; ++i)
        enqueue("k");
    worker w{options()};
    std::atomic<int> running{0};
    w.on("k", [&](const job_context& job) {
        ++running;
        job.wait_for(1h);
    });
    w.start();
    wait_until([&] { return running == 4; }, "four jobs run");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 4);
    w.kill();
    w.join();
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND interruptions = 1"), 4);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND attempt = 0"), 16);
}

TEST_F(worker_dispatch, gives_back_what_was_fetched_ahead_of_jobs_that_turned_out_slow) {
    // Fast ones first, so that many are fetched ahead; then some that block every thread.
    sql.exec("INSERT INTO haul.jobs (kind, priority) SELECT 'fast', 1 FROM generate_series(1, 20000)");
    sql.exec("INSERT INTO haul.jobs (kind, priority) SELECT 'slow', 2 FROM generate_series(1, 4)");
    sql.exec("INSERT INTO haul.jobs (kind, priority) SELECT 'fast', 3 FROM generate_series(1, 2000)");
    worker w{options()};
    w.on("fast", [](const job_context&) {});
    w.on("slow", [](const job_context& job) { job.wait_for(1h); });
    w.start();
    await("(SELECT count(*) FROM haul.jobs WHERE kind = 'slow' AND state = 'running') = 4");
    await("(SELECT count(*) FROM haul.jobs WHERE kind = 'fast' AND state = 'running') = 0");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE kind = 'fast' AND attempt = 0"), 2000);
    w.kill();
    w.join();
}

TEST_F(worker_dispatch, registers_under_its_name_and_leaves) {
    worker w{options("name \"x\" %v {}")};
    w.on("k", [](const job_context&) {});
    w.start();
    EXPECT_EQ(sql.text("SELECT name FROM haul.workers"), "name \"x\" %v {}");
    EXPECT_EQ(sql.text("SELECT kinds::text FROM haul.workers"), "{k}");
    EXPECT_EQ(sql.number("SELECT pid FROM haul.workers"), ::getpid());
    w.stop();
    w.join();
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 0);
}

TEST_F(worker_dispatch, ends_by_itself_after_a_time) {
    auto how = options();
    how.exit_after = 200ms;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    w.join();
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 0);
}

TEST_F(worker_dispatch, fails_at_once_when_it_cannot_start) {
    auto how = options();
    {
        worker nothing{how};
        EXPECT_THROW(nothing.start(), error);
    }
    how.dsn = "host=/nonexistent dbname=postgres";
    worker nowhere{how};
    nowhere.on("k", [](const job_context&) {});
    EXPECT_THROW(nowhere.start(), connection_error);
    how.dsn = server->dsn("template1");
    worker elsewhere{how};
    elsewhere.on("k", [](const job_context&) {});
    EXPECT_THROW(elsewhere.start(), not_installed);
}

TEST_F(worker_dispatch, a_handler_twice_is_an_error) {
    worker w{options()};
    w.on("k", [](const job_context&) {});
    EXPECT_THROW(w.on("k", [](const job_context&) {}), error);
    EXPECT_THROW(w.add(handler_spec{"k", handler_spec::type::builtin, {"noop"}}), error);
}

TEST_F(worker_dispatch, confirms_the_start_of_jobs_that_were_interrupted_before) {
    const auto id = enqueue("k");
    {
        worker w{options()};
        std::atomic<bool> begun{false};
        w.on("k", [&](const job_context& job) {
            begun = true;
            job.wait_for(1h);
        });
        w.start();
        wait_until([&] { return begun.load(); }, "the job has begun");
        w.kill();
        w.join();
    }
    EXPECT_EQ(live(id, "interruptions"), "1");
    worker w{options()};
    std::atomic<bool> interrupted_before{false};
    w.on("k", [&](const job_context& job) { interrupted_before = job.interrupted_at().has_value(); });
    w.start();
    await_end(id);
    EXPECT_TRUE(interrupted_before);
    EXPECT_EQ(ended(id, "attempt"), "2");
    w.stop();
    w.join();
}

} // namespace
} // namespace haul::test
