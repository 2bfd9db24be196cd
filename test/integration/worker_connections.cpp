#include "haul/pqxx_compat.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class worker_connections : public worker_fixture {
protected:
    /// Ends the worker's connection for a purpose: fetch, report or job. For any thread.
    void terminate(const std::string& purpose) {
        session own{dsn};
        wait_until(
            [&] {
                return own.truth(
                    "SELECT coalesce(bool_and(pg_terminate_backend(pid)), false) FROM pg_stat_activity"
                    " WHERE application_name = 'haul worker w " +
                    purpose + "' AND datname = current_database()");
            },
            "the connection is found");
    }
    std::int64_t worker_id() { return sql.number("SELECT coalesce(max(id), 0) FROM haul.workers"); }
};

TEST_F(worker_connections, a_lost_fetch_connection_is_replaced_and_nothing_else_changes) {
    worker w{options()};
    std::atomic<bool> go_on{false};
    w.on("k", [&](const job_context& job) {
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    const auto before = worker_id();
    const auto running = enqueue("k");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 1");
    terminate("fetch");
    const auto next = enqueue("k");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 2");
    go_on = true;
    await_end(running);
    await_end(next);
    EXPECT_EQ(worker_id(), before);
    EXPECT_EQ(ended(running, "attempt"), "1");
    w.stop();
    w.join();
}

TEST_F(worker_connections, a_worker_that_is_back_is_not_taken_for_dead_because_it_is_busy) {
    sql.exec("ALTER SYSTEM SET haul.reconnect_grace = '300ms'");
    sql.exec("SELECT pg_reload_conf()");
    auto how = options();
    how.max_threads = 1;
    worker w{how};
    std::atomic<bool> go_on{false};
    w.on("k", [&](const job_context& job) {
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    const auto id = enqueue("k");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 1");
    terminate("fetch");
    sql.exec("SELECT pg_sleep(1)"); // the time in which its row would be deleted
    go_on = true;
    await_end(id);
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
    w.stop();
    w.join();
    sql.exec("ALTER SYSTEM RESET haul.reconnect_grace");
    sql.exec("SELECT pg_reload_conf()");
}

TEST_F(worker_connections, a_lost_report_connection_loses_no_outcome) {
    worker w{options()};
    std::atomic<bool> go_on{false};
    w.on("k", [&](const job_context& job) {
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    const auto id = enqueue("k");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 1");
    terminate("report");
    go_on = true;
    await_end(id);
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
    w.stop();
    w.join();
}

TEST_F(worker_connections, a_connection_lost_in_a_handlers_transaction_is_not_the_jobs_failure) {
    sql.exec("CREATE TABLE effects (job bigint)");
    worker w{options()};
    std::atomic<int> runs{0};
    w.on("k", [&](const job_context& job) {
        compat::exec(job.transaction(), "INSERT INTO effects VALUES ($1)", job.id());
        if (++runs == 1)
            terminate("job");
        compat::exec(job.transaction(), "SELECT 1");
    });
    w.start();
    const auto id = enqueue("k");
    await_end(id);
    EXPECT_EQ(runs, 2);
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.job_errors"), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1);
    w.stop();
    w.join();
}

TEST_F(worker_connections, a_deleted_row_is_registered_again) {
    auto how = options();
    how.heartbeat_interval = 100ms;
    worker w{how};
    std::atomic<int> runs{0}, told{0};
    w.on("k", [&](const job_context& job) {
        if (++runs > 1)
            return;
        while (job.wait_for(5ms)) {
        }
        ++told;
    });
    w.start();
    const auto id = enqueue("k");
    wait_until([&] { return runs == 1; }, "the job has begun");
    const auto before = worker_id();
    sql.exec("DELETE FROM haul.workers");
    await("(SELECT max(id) FROM haul.workers) > " + std::to_string(before));
    await_end(id);
    EXPECT_EQ(told, 1) << "the first execution was told that the job is not its own any more";
    EXPECT_EQ(ended(id, "state || attempt"), "completed2");
    w.stop();
    w.join();
}

TEST_F(worker_connections, a_checkout_learns_of_the_deleted_row_too) {
    worker w{options()};
    w.on("k", [](const job_context&) {});
    w.start();
    await_end(enqueue("k"));
    sql.exec("DELETE FROM haul.workers");
    await_end(enqueue("k"));
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 1);
    const auto begun = std::chrono::steady_clock::now();
    await_end(enqueue("k"));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s) << "the new registration is woken, too";
    w.stop();
    w.join();
}

TEST_F(worker_connections, finished_jobs_outlive_a_server_that_is_away) {
    worker w{options()};
    std::atomic<bool> go_on{false};
    std::atomic<int> runs{0}, ended_runs{0};
    w.on("k", [&](const job_context& job) {
        ++runs;
        while (!go_on && job.wait_for(5ms)) {
        }
        ++ended_runs;
    });
    w.start();
    enqueue("k");
    enqueue("k");
    wait_until([&] { return runs == 2; }, "two jobs run");
    server->stop("fast");
    go_on = true;
    wait_until([&] { return ended_runs == 2; }, "both end while nobody can be told");
    server->start();
    sql = session{dsn};
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed' AND attempt = 1) = 2");
    EXPECT_EQ(runs, 2);
    await_end(enqueue("k"));
    w.stop();
    w.join();
}

TEST_F(worker_connections, a_worker_can_end_while_the_server_is_away) {
    auto w = std::make_unique<worker>(options());
    w->on("k", [](const job_context&) {});
    w->start();
    await_end(enqueue("k"));
    server->stop("fast");
    w->stop();
    w->join();
    w.reset();
    server->start();
    sql = session{dsn};
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 1) << "maintenance will find it silent";
}

TEST_F(worker_connections, a_crash_of_the_server_under_load_loses_nothing) {
    constexpr int count = 20000;
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, " + std::to_string(count) +
             ")");
    sql.exec("CHECKPOINT");
    worker w{options()};
    w.on("k", [](const job_context&) {});
    w.start();
    await("EXISTS (SELECT FROM haul.finished_jobs)");
    server->restart("immediate");
    sql = session{dsn};
    await("NOT EXISTS (SELECT FROM haul.jobs)");
    EXPECT_EQ(sql.number("SELECT count(DISTINCT id) FROM haul.finished_jobs WHERE state = 'completed'"),
              count);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs"), count);
    w.stop();
    w.join();
}

} // namespace
} // namespace haul::test
