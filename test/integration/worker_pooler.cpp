// Workers behind PgBouncer in transaction mode: no session is theirs for longer than a statement.
#include "haul/pqxx_compat.hpp"
#include "support/pooler.hpp"
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <mutex>

namespace haul::test {
namespace {

class worker_pooler : public worker_fixture {
protected:
    static void SetUpTestSuite() {
        worker_fixture::SetUpTestSuite();
        between = new pooler{*server};
    }
    static void TearDownTestSuite() {
        delete between;
        worker_fixture::TearDownTestSuite();
    }

    /// One that waits in the server, and for nothing else in the time that a test takes.
    worker_options pooled(wait_mode wait = wait_mode::call) const {
        auto made = options();
        made.dsn = pooled_dsn;
        made.wait = wait;
        made.polling_interval = 10min;
        made.heartbeat_interval = 10min;
        return made;
    }

    const std::string calls = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                              " AND state = 'active' AND query LIKE 'CALL haul.checkout_wait%'";
    /// Waits until the worker waits in the server, since that many calls ago.
    void await_call() { await("(" + calls + ") = 1"); }

    std::string pooled_dsn{between->dsn("worker_" + std::to_string(databases))};
    static inline pooler* between = nullptr;
};

TEST_F(worker_pooler, a_commit_ends_the_call) {
    worker w{pooled()};
    w.on("k", [](const job_context&) {});
    w.start();
    for (int i = 0; i < 3; ++i) {
        await_call();
        await_end(enqueue("k"));
    }
    w.stop();
    w.join();
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 0);
}

TEST_F(worker_pooler, a_job_of_the_call_is_the_job_of_a_checkout) {
    sql.exec("ALTER DATABASE worker_" + std::to_string(databases) +
             " SET datestyle = 'SQL, DMY'; ALTER DATABASE worker_" + std::to_string(databases) +
             " SET intervalstyle = 'sql_standard'; ALTER DATABASE worker_" + std::to_string(databases) +
             " SET timezone = 'Asia/Kathmandu'");
    const auto add = [&] {
        return enqueue("k", "args, priority, queue, timeout, max_attempts, on_timeout",
                       R"('{"n": 123456789012345678901234567890.10, "text": "ä🙂\"\\\n"}', 7, 'a;b',)"
                       " '1 day 01:00:01.5', 3, 'discard'");
    };
    std::mutex mutex;
    std::vector<std::string> seen;
    std::vector<std::chrono::steady_clock::time_point> deadlines;
    worker w{pooled()};
    w.on("k", [&](const job_context& job) {
        const std::lock_guard lock{mutex};
        auto text = nlohmann::json::parse(job.to_json());
        text.erase("id");
        text.erase("run_at");
        text.erase("enqueued_at");
        seen.push_back(text.dump() + std::string{job.args_text()});
        EXPECT_NEAR(std::chrono::duration<double>(std::chrono::system_clock::now() - job.run_at()).count(), 0,
                    20);
        EXPECT_NEAR(std::chrono::duration<double>(*job.deadline() - std::chrono::steady_clock::now()).count(),
                    90001.5, 20);
    });
    const auto checked_out = add(); // before the worker's first look, which is a checkout
    w.start();
    await_end(checked_out);
    await_call();
    await_end(add());
    w.stop();
    w.join();
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen[0], seen[1]);
    EXPECT_NE(seen[0].find("123456789012345678901234567890.10"), std::string::npos) << seen[0];
}

TEST_F(worker_pooler, a_future_job_starts_on_time) {
    worker w{pooled()};
    std::atomic<double> late{-1};
    w.on("k", [&](const job_context& job) {
        late = std::chrono::duration<double>(std::chrono::system_clock::now() - job.run_at()).count();
    });
    w.start();
    await_call();
    await_end(enqueue("k", "run_at", "now() + interval '1.5 s'"));
    EXPECT_GE(late, 0);
    EXPECT_LT(late, 1.0) << "seconds; the next poll is ten minutes away";
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_load_goes_through) {
    constexpr int count = 20000;
    worker w{pooled()};
    std::atomic<int> runs{0};
    w.on("k", [&](const job_context&) { ++runs; });
    w.start();
    await_call();
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, " + std::to_string(count) +
             ")");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed') = " + std::to_string(count));
    EXPECT_EQ(runs, count);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, handlers_have_their_transactions) {
    sql.exec("CREATE TABLE effects (job bigint)");
    worker w{pooled()};
    w.on("k", [&](const job_context& job) {
        compat::exec(job.transaction(), "INSERT INTO effects VALUES ($1)", job.id());
    });
    w.start();
    for (int i = 0; i < 20; ++i)
        enqueue("k");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed') = 20");
    EXPECT_EQ(sql.number("SELECT count(DISTINCT job) FROM effects"), 20);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, leaves_nothing_behind_in_the_sessions_it_used) {
    for (const auto mode : {wait_mode::call, wait_mode::poll}) {
        auto how = pooled(mode);
        how.polling_interval = 20ms;
        worker w{how};
        w.on("k", [](const job_context& job) { compat::exec(job.transaction(), "SELECT 1"); });
        w.start();
        for (int i = 0; i < 20; ++i)
            await_end(enqueue("k"));
        w.stop();
        w.join();
    }
    // As many transactions at a time as there are sessions: each has one.
    std::vector<session> all;
    std::set<std::string> backends;
    for (int i = 0; i < pooler::pool_size; ++i) {
        auto& one = all.emplace_back(pooled_dsn);
        one.exec("BEGIN");
        backends.insert(one.text("SELECT pg_backend_pid()::text"));
        EXPECT_EQ(one.number("SELECT count(*) FROM pg_listening_channels()"), 0);
        EXPECT_EQ(one.number("SELECT count(*) FROM pg_prepared_statements"), 0);
        EXPECT_EQ(one.text("SELECT coalesce(string_agg(name, ' '), '') FROM pg_settings"
                           " WHERE source = 'session' AND name <> 'application_name'"),
                  "");
    }
    EXPECT_EQ(backends.size(), std::size_t{pooler::pool_size});
}

TEST_F(worker_pooler, polls_when_told_to) {
    auto how = pooled(wait_mode::poll);
    how.polling_interval = 50ms;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    for (int i = 0; i < 3; ++i)
        await_end(enqueue("k"));
    EXPECT_EQ(sql.number(calls), 0);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, heartbeats_go_on_while_it_waits) {
    auto how = pooled();
    how.heartbeat_interval = 200ms;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    for (int i = 0; i < 3; ++i) {
        const auto last = sql.text("SELECT last_heartbeat_at::text FROM haul.workers");
        await("(SELECT last_heartbeat_at > '" + last + "' FROM haul.workers)");
        await_call();
    }
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_stop_ends_the_call) {
    for (int i = 0; i < 5; ++i) {
        worker w{pooled()};
        w.on("k", [](const job_context&) {});
        w.start();
        await_call();
        const auto begun = std::chrono::steady_clock::now();
        w.stop();
        w.join();
        EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s) << "by itself it lasts ten minutes";
        EXPECT_EQ(sql.number(calls), 0);
        EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 0);
    }
}

TEST_F(worker_pooler, a_stop_while_jobs_run_waits_for_them_and_says_so) {
    worker w{pooled()};
    std::atomic<bool> begun{false}, go_on{false};
    w.on("k", [&](const job_context& job) {
        begun = true;
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    await_call();
    const auto id = enqueue("k");
    wait_until([&] { return begun.load(); }, "the job has begun");
    await_call();
    w.stop();
    await("(SELECT status FROM haul.workers) = 'draining'");
    EXPECT_EQ(sql.number(calls), 0);
    go_on = true;
    w.join();
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
}

TEST_F(worker_pooler, a_stop_that_meets_a_job_loses_and_charges_nothing) {
    // Now this comes first, now that.
    for (int i = 0; i < 40; ++i) {
        worker w{pooled()};
        w.on("k", [](const job_context&) {});
        w.start();
        await_call();
        session other{dsn};
        other.send("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
        if (i % 2)
            wait_until([&] { return !other.busy(); }, "the insert is done");
        w.stop();
        other.finish();
        w.join();
    }
    EXPECT_EQ(
        sql.number("SELECT (SELECT count(*) FROM haul.jobs) + (SELECT count(*) FROM haul.finished_jobs)"),
        40 * 3);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state <> 'ready' OR attempt > 0"), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE attempt <> 1"), 0);
}

TEST_F(worker_pooler, ends_by_itself_when_there_is_nothing_to_do) {
    for (int i = 0; i < 5; ++i)
        enqueue("k");
    auto how = pooled();
    how.exit_when_empty = true;
    worker w{how};
    w.on("k", [](const job_context& job) { job.wait_for(50ms); });
    w.start();
    w.join();
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs"), 5);
}

TEST_F(worker_pooler, a_deleted_row_ends_the_call_and_is_registered_again) {
    worker w{pooled()};
    w.on("k", [](const job_context&) {});
    w.start();
    await_call();
    const auto before = sql.number("SELECT id FROM haul.workers");
    sql.exec("DELETE FROM haul.workers");
    await_end(enqueue("k"));
    EXPECT_GT(sql.number("SELECT id FROM haul.workers"), before);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_call_that_an_administrator_cancels_is_made_again) {
    worker w{pooled()};
    w.on("k", [](const job_context&) {});
    w.start();
    await_call();
    const auto worker_id = sql.number("SELECT id FROM haul.workers");
    for (const char* how : {"cancel", "terminate"}) {
        const auto before = sql.text("SELECT query_start::text FROM pg_stat_activity WHERE pid IN (SELECT pid"
                                     " FROM pg_stat_activity WHERE query LIKE 'CALL haul.checkout_wait%')");
        sql.exec("SELECT pg_" + std::string{how} +
                 "_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND query LIKE 'CALL haul.checkout_wait%'");
        await("(SELECT query_start > '" + before +
              "' FROM pg_stat_activity WHERE state = 'active'"
              " AND query LIKE 'CALL haul.checkout_wait%')");
        await_end(enqueue("k"));
        await_call();
    }
    EXPECT_EQ(sql.number("SELECT id FROM haul.workers"), worker_id);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_restart_of_the_server_is_survived) {
    worker w{pooled()};
    w.on("k", [](const job_context&) {});
    w.start();
    await_call();
    for (const char* how : {"fast", "immediate"}) {
        server->restart(how);
        sql = session{dsn};
        await_end(enqueue("k"));
        await_call();
    }
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_restart_of_the_pooler_is_survived) {
    auto how = pooled();
    how.heartbeat_interval = 2s; // and so the longest call
    worker w{how};
    std::atomic<int> runs{0};
    w.on("k", [&](const job_context&) { ++runs; });
    w.start();
    await_call();
    between->stop();
    // If the call has not noticed, it takes the job: its claim must not stay.
    const auto meanwhile = enqueue("k");
    between->start();
    await_end(meanwhile);
    await_call();
    await_end(enqueue("k"));
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 1);
    w.stop();
    w.join();
}

TEST_F(worker_pooler, a_program_ends_promptly_though_the_pooler_is_gone) {
    worker_process program{pooled_dsn,
                           "haul:\n  wait: call\n  heartbeat_interval: 600\n  polling_interval: 600\n"
                           "  handlers:\n    k: {builtin: noop}\n"};
    await_call();
    between->stop();
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 1) << program->errors();
    between->start();
}

TEST_F(worker_pooler, another_takes_over_from_a_worker_that_was_killed) {
    sql.exec("ALTER DATABASE worker_" + std::to_string(databases) + " SET haul.worker_timeout = '2s'");
    const std::string yaml = "haul:\n  wait: call\n  heartbeat_interval: 0.5\n  max_threads: 1\n"
                             "  handlers:\n    nap: {builtin: sleep}\n    k: {builtin: noop}\n";
    auto victim = std::make_unique<worker_process>(pooled_dsn, yaml);
    const auto id = enqueue("nap", "args", R"('{"seconds": 1}')");
    await("EXISTS (SELECT FROM haul.jobs WHERE state = 'running')");
    (*victim)->kill();
    worker_process heir{pooled_dsn, yaml};
    await_end(id);
    // Behind a pooler its death is only a suspicion, which charges nothing.
    EXPECT_EQ(ended(id, "state || claim"), "completed2");
    await("(SELECT count(*) FROM haul.workers WHERE lost_at IS NULL) = 1");
    heir->signal(SIGTERM);
    EXPECT_EQ(heir->wait(), 0) << heir->errors();
}

} // namespace
} // namespace haul::test
