// Commands of schedules when processes, servers and databases come and go.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/command_runs.hpp"
#include "support/process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class commands_faults : public testing::TestWithParam<bool> {
protected:
    void start(std::map<std::string, std::string> settings = {}) {
        settings.insert({"max_worker_processes", "16"});
        server = std::make_unique<cluster>(cluster_options{GetParam(), settings});
        server->create_database();
        connect();
    }

    void connect() {
        sql = std::make_unique<session>(server->dsn("haul_test"));
        runs = std::make_unique<command_runs>(*sql);
    }

    std::int64_t pid_of(std::int64_t run) {
        wait_until(
            [&] {
                return sql->truth("SELECT pid IS NOT NULL FROM haul.cron_runs WHERE id = $1",
                                  {std::to_string(run)});
            },
            "its process is known");
        return sql->number("SELECT pid FROM haul.cron_runs WHERE id = $1", {std::to_string(run)});
    }

    void terminate(const std::string& condition) {
        session admin(server->dsn());
        admin.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + condition);
    }

    // Calls for what is to run, until it has run: nobody tells when a process slot becomes free.
    void keep_going_until(const std::function<bool()>& condition, const std::string& what) {
        wait_until(
            [&] {
                runs->go();
                return condition();
            },
            what);
    }

    const std::string runner = "backend_type = 'pg_haul commands'";
    std::unique_ptr<cluster> server;
    std::unique_ptr<session> sql;
    std::unique_ptr<command_runs> runs;
};

INSTANTIATE_TEST_SUITE_P(, commands_faults, testing::Bool(),
                         [](const auto& info) { return info.param ? "preloaded" : "unpreloaded"; });

TEST_P(commands_faults, without_a_free_process_they_wait_and_say_so) {
    start({{"max_worker_processes", GetParam() ? "1" : "0"}, // the launcher's
           {"max_logical_replication_workers", "0"},
           {"max_parallel_workers", "0"}});
    const log_watch log(*server);
    const std::int64_t run = runs->fire("SELECT 1");
    for (int pass = 0; pass < 20; ++pass)
        runs->go();
    EXPECT_EQ(runs->of(run).state, "starting");
    EXPECT_EQ(runs->of(run).message, "waits for a free process: consider increasing max_worker_processes");
    EXPECT_EQ(log.count("max_worker_processes"), log.count("pg_haul cannot start its worker") ? 1 : 0);

    ASSERT_EQ(session(server->dsn()).exec("ALTER SYSTEM SET max_worker_processes = 8").size(), 0);
    server->restart();
    connect();
    runs->go();
    EXPECT_EQ(runs->await_end(run).state, "succeeded");
    EXPECT_EQ(runs->of(run).message, "1 row");
}

TEST_P(commands_faults, with_few_processes_they_take_turns) {
    // one for the runner and one for a command, and what preloading takes
    start({{"max_worker_processes", GetParam() ? "4" : "2"}, {"max_logical_replication_workers", "0"}});
    std::vector<std::int64_t> all;
    for (int n = 0; n < 4; ++n)
        all.push_back(runs->fire("SELECT pg_sleep(0.5)"));
    wait_until(
        [&] {
            return sql->truth(
                "SELECT EXISTS (SELECT FROM haul.cron_runs WHERE message LIKE 'waits for a free%')");
        },
        "one waits");
    for (const std::int64_t run : all) {
        keep_going_until([&] { return runs->of(run).state == "succeeded"; }, "it has run");
        EXPECT_EQ(runs->of(run).message, "1 row");
    }
}

TEST_P(commands_faults, what_ran_in_a_crash_has_failed_and_is_not_run_again) {
    start();
    sql->exec("CREATE TABLE t (i integer); ALTER DATABASE haul_test SET haul.max_commands = 1");
    const std::int64_t run = runs->fire("INSERT INTO t VALUES (1); COMMIT; SELECT pg_sleep(600)");
    runs->await(run, "running");
    wait_until([&] { return sql->number("SELECT count(*) FROM t") == 1; }, "it has begun");
    // one fired just before, which has not begun
    sql->exec("INSERT INTO haul.cron_runs (cron_id, name, run_at, state, command, username)"
              " VALUES (1, 'fresh', now(), 'starting', 'INSERT INTO t VALUES (2)', 'postgres')");
    sql->exec("INSERT INTO haul.cron_runs (cron_id, name, run_at, fired_at, state, command, username)"
              " VALUES (2, 'old', now(), now() - interval '1 hour', 'starting', 'INSERT INTO t VALUES (3)', "
              "'postgres')");
    server->restart("immediate");
    connect();
    runs->go();
    EXPECT_EQ(runs->await_end(run).state, "failed");
    EXPECT_EQ(runs->of(run).message, "the server was stopped, or crashed, while it ran");
    wait_until([&] { return runs->processes() == 0; }, "all is done");
    EXPECT_EQ(sql->text("SELECT string_agg(i::text, ',' ORDER BY i) FROM t"), "1,2");
    EXPECT_EQ(sql->text("SELECT state || ': ' || message FROM haul.cron_runs WHERE name = 'old'"),
              "failed: missed: the server was stopped, or crashed, before it could run");
}

TEST_P(commands_faults, what_ran_in_a_fast_shutdown_has_failed) {
    start();
    const std::int64_t run = runs->fire("SELECT pg_sleep(600)");
    runs->await(run, "running");
    server->restart("fast");
    connect();
    runs->go();
    EXPECT_EQ(runs->await_end(run).state, "failed");
}

TEST_P(commands_faults, a_runner_that_is_terminated_has_a_successor) {
    start();
    sql->exec("SELECT pg_advisory_lock(1)");
    const std::int64_t first = runs->fire("SELECT pg_advisory_lock(1)", "postgres", {}, 1);
    pid_of(first);
    const std::int64_t second = runs->fire("SELECT 2", "postgres", {}, 1);
    const std::string before =
        sql->text("SELECT pid FROM pg_locks WHERE classid = 'haul.cron_runs'::regclass");
    terminate("pid = " + before);
    keep_going_until(
        [&] {
            return sql->truth("SELECT EXISTS (SELECT FROM pg_locks WHERE classid = 'haul.cron_runs'::regclass"
                              " AND pid <> $1)",
                              {before});
        },
        "there is another");
    // the first still runs, so the second of the same schedule does not
    expect_all_along(
        [&] { return runs->of(second).state == "starting" && runs->of(first).state == "running"; },
        "all is as it was", 7s);
    sql->exec("SELECT pg_advisory_unlock(1)");
    EXPECT_EQ(runs->await_end(first).state, "failed");
    EXPECT_THAT(runs->of(first).message, StartsWith("how it ended is not known"));
    EXPECT_EQ(runs->await_end(second).message, "1 row");
}

TEST_P(commands_faults, databases_can_be_dropped_whose_commands_run_elsewhere) {
    start();
    session admin(server->dsn());
    const std::int64_t run = runs->fire("SELECT pg_sleep(600)", "postgres", "postgres");
    runs->await(run, "running");
    sql.reset();
    runs.reset();
    admin.exec("DROP DATABASE haul_test");
    terminate("backend_type = 'pg_haul command'");
    wait_until(
        [&] {
            return admin.number(
                       "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_haul command%'") ==
                   0;
        },
        "nothing is left");
}

TEST_P(commands_faults, databases_can_be_dropped_by_force) {
    start();
    session admin(server->dsn());
    runs->await(runs->fire("SELECT pg_sleep(600)"), "running");
    admin.exec("DROP DATABASE haul_test WITH (FORCE)");
    EXPECT_EQ(
        admin.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_haul command%'"), 0);
}

TEST_P(commands_faults, the_extension_can_be_dropped_while_one_runs) {
    start();
    sql->exec("CREATE TABLE t (i integer)");
    sql->exec("SELECT pg_advisory_lock(1)");
    runs->await(runs->fire("SELECT pg_advisory_lock(1); INSERT INTO t VALUES (1)"), "running");
    sql->exec("SET statement_timeout = '20s'; DROP EXTENSION pg_haul CASCADE");
    wait_until([&] { return sql->number("SELECT count(*) FROM pg_stat_activity WHERE " + runner) == 0; },
               "nobody waits for it");
    // another has the same ids
    sql->exec("CREATE EXTENSION pg_haul");
    EXPECT_EQ(runs->outcome("SELECT 1"), "succeeded: 1 row");
    sql->exec("SELECT pg_advisory_unlock(1)");
    wait_until([&] { return sql->number("SELECT count(*) FROM t") == 1; },
               "the command has ended as it began");
    EXPECT_EQ(sql->number("SELECT count(*) FROM haul.cron_runs"), 1);
}

TEST_P(commands_faults, a_standby_runs_nothing_until_it_is_promoted) {
    start();
    const std::int64_t run = runs->fire("SELECT pg_sleep(600)");
    runs->await(run, "running");
    cluster standby{{GetParam(), {{"max_worker_processes", "16"}}, server.get()}};
    session copy(standby.dsn("haul_test"));
    wait_until([&] { return copy.number("SELECT count(*) FROM haul.cron_runs") == 1; }, "it has the run");
    EXPECT_EQ(copy.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_haul command%'"),
              0);
    server->stop("immediate");
    copy.exec("SELECT pg_promote()");
    command_runs there(copy);
    there.go();
    EXPECT_EQ(there.await_end(run).state, "failed");
    EXPECT_EQ(there.outcome("SELECT 1"), "succeeded: 1 row");
}

TEST_P(commands_faults, a_dump_takes_no_commands_along) {
    start();
    sql->exec("CREATE TABLE t (i integer)");
    sql->exec("ALTER DATABASE haul_test SET haul.max_commands = 1");
    runs->await(runs->fire("SELECT pg_sleep(600)"), "running");
    runs->fire("INSERT INTO t VALUES (1)");
    session(server->dsn()).exec("CREATE DATABASE copy");
    run({"bash", "-c",
         cluster::program_directory() + "/pg_dump '" + server->dsn("haul_test") + "' | " +
             cluster::program_directory() + "/psql -v ON_ERROR_STOP=1 -q '" + server->dsn("copy") + "'"});
    session copy(server->dsn("copy"));
    EXPECT_EQ(copy.number("SELECT count(*) FROM haul.cron_runs"), 2);
    EXPECT_EQ(copy.text("SELECT DISTINCT state || ': ' || message FROM haul.cron_runs"),
              "failed: it was not over when the dump was made from which it was restored");
    copy.exec("SELECT haul._run_commands()");
    EXPECT_EQ(copy.number("SELECT count(*) FROM t"), 0);
}

} // namespace
} // namespace haul::test
