// Who is taken for dead: the killed and the hung, and nobody else, whatever happens to the server and to the
// way there.
#include "support/background.hpp"
#include "support/process.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <unistd.h>

namespace haul::test {
namespace {

class signs_of_life : public testing::Test {
protected:
    using settings = std::map<std::string, std::string>;

    explicit signs_of_life(const settings& changed)
        : server{{true, changed}}, dsn{server.create_database()} {}

    /// A worker process of this name; `sleep` jobs last as many seconds as they say.
    std::unique_ptr<worker_process> worker(const std::string& name, const std::string& more = "") const {
        return std::make_unique<worker_process>(road, "haul:\n  identifier: " + name + "\n" + more +
                                                          "  handlers:\n    sleep: {builtin: sleep}\n");
    }
    /// A job that would fail for good if it was charged with an interruption.
    void enqueue(double seconds, int max_attempts = 1) {
        sql.exec(
            "INSERT INTO haul.jobs (kind, args, max_attempts) VALUES ('sleep', jsonb_build_object('seconds', "
            "$1::float8), $2)",
            {std::to_string(seconds), std::to_string(max_attempts)});
    }
    void await_running() {
        wait_until([&] { return sql.truth("SELECT EXISTS (SELECT FROM haul.jobs WHERE state = 'running')"); },
                   "the job runs");
    }
    std::string holder() {
        return sql.text("SELECT coalesce((SELECT w.name FROM haul.jobs AS j JOIN haul.workers AS w ON w.id = "
                        "j.worker_id WHERE j.state = 'running'), '')");
    }
    void await_end(std::chrono::milliseconds limit = patience) {
        wait_until([&] { return sql.truth("SELECT EXISTS (SELECT FROM haul.finished_jobs)"); },
                   "the job has ended", limit);
    }
    void expect_uncharged(int jobs = 1) {
        EXPECT_EQ(
            sql.exec(
                "SELECT state, attempt, interruptions, count(*) FROM haul.finished_jobs GROUP BY 1, 2, 3"),
            (rows{{"completed", "1", "0", std::to_string(jobs)}}));
        EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers WHERE lost_at IS NOT NULL"), 0);
        EXPECT_EQ(
            sql.number(
                "SELECT coalesce(sum(dispatches + retries - completions - failures - expiries - discards"
                " - cancels - releases), 0) FROM haul.counters"),
            0)
            << "the counters do not add up";
    }
    bool nobody_lost() {
        return sql.truth("SELECT count(*) FILTER (WHERE lost_at IS NOT NULL) = 0 FROM haul.workers");
    }

    cluster server;
    std::string dsn;
    std::string road = dsn; ///< by which workers reach the database
    session sql{dsn};
};

/// With settings so short that what lasts for seconds here is like what lasts for minutes elsewhere.
class living_worker : public signs_of_life {
protected:
    living_worker()
        : signs_of_life{{{"haul.worker_timeout", "2s"},
                         {"haul.reconnect_grace", "500ms"},
                         {"haul.lost_timeout", "60s"}}} {}

    void cut(const std::string& name) {
        sql.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1",
                 {"haul worker " + name + " %"});
    }
    /// Connections of the worker are lost, and no new ones to be had, for so long.
    void outage(const std::string& name, std::chrono::milliseconds span) {
        session postgres{server.dsn()};
        postgres.exec("ALTER DATABASE haul_test ALLOW_CONNECTIONS false");
        cut(name);
        expect_all_along([] { return true; }, "an outage", span);
        postgres.exec("ALTER DATABASE haul_test ALLOW_CONNECTIONS true");
    }
};

TEST_F(living_worker, outlives_a_server_that_is_away) {
    const auto w = worker("w");
    enqueue(1);
    await_running();
    server.stop("fast");
    expect_all_along([&] { return (*w)->running(); }, "the worker waits", 6s);
    server.start();
    sql = session{dsn};
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, outlives_a_crash_of_the_server) {
    const auto w = worker("w");
    enqueue(5);
    await_running();
    server.restart("immediate");
    sql = session{dsn};
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, outlives_a_machine_that_is_suspended) {
    const auto w = worker("w");
    enqueue(2);
    await_running();
    {
        std::vector<std::unique_ptr<frozen>> all;
        const auto pids = sql.exec("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
        for (const auto& row : pids)
            all.push_back(std::make_unique<frozen>(std::stoi(*row[0])));
        all.push_back(std::make_unique<frozen>((*w)->pid()));
        expect_all_along([] { return true; }, "the machine is suspended", 6s);
    }
    expect_all_along([&] { return nobody_lost(); }, "nobody is taken for dead", 1s);
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, is_heard_while_somebody_locks_the_jobs) {
    const auto w = worker("w");
    const auto other = worker("other");
    enqueue(3);
    await_running();
    session locker{dsn};
    locker.exec("BEGIN");
    locker.exec("LOCK TABLE haul.jobs");
    expect_all_along([&] { return nobody_lost(); }, "nobody is taken for dead", 6s);
    locker.exec("COMMIT");
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, is_heard_while_somebody_locks_its_row) {
    const auto w = worker("w");
    enqueue(3);
    await_running();
    session locker{dsn};
    locker.exec("BEGIN");
    locker.exec("SELECT FROM haul.workers FOR UPDATE");
    await_end();
    locker.exec("COMMIT");
    expect_uncharged();
}

TEST_F(living_worker, is_not_lost_while_nobody_can_write) {
    const auto w = worker("w");
    enqueue(3);
    await_running();
    server.set("default_transaction_read_only", "on");
    expect_all_along([&] { return nobody_lost(); }, "nobody is taken for dead", 6s);
    server.set("default_transaction_read_only", "off");
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, is_not_lost_while_the_table_of_workers_is_locked) {
    const auto w = worker("w");
    enqueue(1);
    await_running();
    session locker{dsn};
    locker.exec("BEGIN");
    locker.exec("LOCK TABLE haul.workers IN SHARE MODE");
    expect_all_along([&] { return nobody_lost(); }, "nobody is taken for dead", 6s);
    locker.exec("COMMIT");
    await_end();
    expect_uncharged();
}

TEST_F(living_worker, keeps_its_jobs_when_its_connections_are_cut) {
    const auto w = worker("w");
    const auto other = worker("other");
    enqueue(4);
    await_running();
    const auto at_work = holder();
    for (int i = 0; i < 5; ++i) {
        cut(at_work);
        wait_until(
            [&] {
                return sql.truth("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = $1",
                                 {"haul worker " + at_work + " fetch"});
            },
            "it is back");
        EXPECT_EQ(holder(), at_work);
    }
    await_end();
    expect_uncharged();
}

// Nobody else is there to take them.
TEST_F(living_worker, gets_back_what_nobody_took_while_it_was_cut_off) {
    const auto w = worker("w");
    enqueue(6, 5);
    enqueue(6, 1); // which is not offered: another attempt would be one too many
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'") == 2; },
               "both run");
    for (int i = 0; i < 2; ++i) {
        outage("w", 1500ms);
        wait_until([&] { return sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'") == 2; },
                   "both run again");
    }
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.finished_jobs") == 2; }, "both have ended");
    EXPECT_EQ(sql.number("SELECT max(claim) FROM haul.finished_jobs"), 1) << "each ran once";
    expect_uncharged(2);
}

TEST_F(living_worker, is_charged_nothing_when_others_took_over) {
    auto w = worker("w");
    enqueue(5, 5);
    await_running();
    const auto other = worker("other");
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.workers") == 2; }, "both are there");
    outage("w", 3s);
    EXPECT_EQ(holder(), "other");
    await_end();
    wait_until([&] { return nobody_lost(); }, "it is back");
    expect_uncharged();
}

TEST_F(living_worker, shortens_a_heartbeat_interval_that_is_too_long) {
    const auto w = worker("w", "  heartbeat_interval: 600\n");
    enqueue(5);
    await_running();
    expect_all_along([&] { return nobody_lost(); }, "it is not taken for dead", 4s);
    await_end();
    expect_uncharged();
    EXPECT_NE((*w)->errors().find("event=heartbeat_interval_shortened"), std::string::npos) << (*w)->errors();
}

// Completions wait for the disk by themselves; nothing waits for this process.
TEST_F(living_worker, is_heard_while_the_wal_writer_stands_still) {
    const auto w = worker("w");
    enqueue(3);
    await_running();
    const frozen writer{
        static_cast<pid_t>(sql.number("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"))};
    expect_all_along([&] { return nobody_lost(); }, "nobody is taken for dead", 6s);
    await_end();
    expect_uncharged();
}

// What it has begun in the database stays open while it hangs, and commits nothing when it goes on.
TEST_F(living_worker, that_hangs_within_a_transaction_keeps_no_job) {
    sql.exec("CREATE TABLE effects (); CREATE FUNCTION effect(args jsonb) RETURNS void LANGUAGE sql AS"
             " 'SELECT pg_sleep(1); INSERT INTO effects DEFAULT VALUES'");
    const auto start = [&](const std::string& name) {
        return std::make_unique<worker_process>(dsn, "haul:\n  identifier: " + name +
                                                         "\n  handlers:\n    effect: {sql: public.effect}\n");
    };
    const auto hung = start("hung");
    sql.exec("INSERT INTO haul.jobs (kind) VALUES ('effect')");
    const std::string open =
        "(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'haul worker hung job'"
        " AND state = 'idle in transaction')";
    wait_until(
        [&] {
            return sql.truth("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = "
                             "'haul worker hung job' AND query LIKE '%public.effect%'");
        },
        "the statement runs");
    std::optional<frozen> still{std::in_place, (*hung)->pid()};
    wait_until([&] { return sql.truth("SELECT " + open + " = 1"); }, "the statement has ended there");
    const auto other = start("other");
    await_end();
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1);
    still.reset();
    wait_until([&] { return sql.truth("SELECT " + open + " = 0"); }, "the transaction has ended");
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1) << "the first has left nothing";
    wait_until([&] { return nobody_lost(); }, "it is back");
    expect_uncharged();
}

/// With so few connections that they can all be taken.
class crowded_server : public signs_of_life {
protected:
    crowded_server()
        : signs_of_life{{{"haul.worker_timeout", "2s"},
                         {"haul.reconnect_grace", "500ms"},
                         {"haul.lost_timeout", "60s"},
                         {"max_connections", "12"},
                         {"superuser_reserved_connections", "0"}}} {}

    const std::string of_worker =
        "(SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'haul worker %')";

    /// Takes every connection there is, those of the worker too.
    std::vector<std::unique_ptr<session>> crowd() {
        std::vector<std::unique_ptr<session>> taken;
        wait_until(
            [&] {
                sql.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                         " WHERE application_name LIKE 'haul worker %'");
                try {
                    for (;;)
                        taken.push_back(std::make_unique<session>(dsn));
                } catch (const sql_error&) { // the last is taken
                }
                return sql.truth("SELECT " + of_worker + " = 0");
            },
            "the worker has no connection");
        return taken;
    }
};

TEST_F(crowded_server, lets_no_worker_die_that_finds_no_connection) {
    const auto w = worker("w");
    enqueue(3, 5);
    enqueue(3, 1);
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'") == 2; },
               "both run");
    {
        const auto others = crowd();
        expect_all_along([&] { return sql.truth("SELECT " + of_worker + " = 0"); }, "it stays so", 4s);
    }
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.finished_jobs") == 2; }, "both have ended");
    EXPECT_EQ(sql.number("SELECT max(claim) FROM haul.finished_jobs"), 1) << "each ran once";
    wait_until([&] { return nobody_lost(); }, "it is back");
    expect_uncharged(2);
}

/// An address of this machine that no other test listens at.
std::string own_address() {
    const auto pid = static_cast<unsigned>(::getpid());
    return "127." + std::to_string(1 + pid / 65536 % 200) + "." + std::to_string(pid / 256 % 256) + "." +
           std::to_string(1 + pid % 254);
}

/// How the worker waits, and whether it comes by TCP, where the server knows of its process by the end of the
/// connections alone.
struct connected {
    const char* wait;
    bool by_tcp;
};

/// As it comes.
class dead_worker : public signs_of_life, public testing::WithParamInterface<connected> {
protected:
    dead_worker() : signs_of_life{{{"listen_addresses", own_address()}}} {
        if (GetParam().by_tcp)
            road = "host=" + own_address() + " port=5432 user=postgres dbname=haul_test";
    }

    std::string how() const { return std::string{"  wait: "} + GetParam().wait + "\n"; }
    /// Does something to the worker that has the job, beside another; returns how long until the other has
    /// ended the job.
    std::chrono::milliseconds after(const std::function<void(worker_process&)>& fate) {
        enqueue(60, 5);
        const auto one = worker("one", how());
        await_running();
        const auto two = worker("two", how() + "  polling_interval: 1\n");
        wait_until([&] { return sql.number("SELECT count(*) FROM haul.workers") == 2; }, "both are there");
        sql.exec("UPDATE haul.jobs SET args = '{\"seconds\": 0}'");
        const auto begun = std::chrono::steady_clock::now();
        fate(*one);
        await_end();
        const auto passed = std::chrono::steady_clock::now() - begun;
        return std::chrono::duration_cast<std::chrono::milliseconds>(passed);
    }
};

// By TCP it may be the connection alone that is lost: it has haul.reconnect_grace to come back, and nothing
// is charged. Who polls finds the job up to a second later.
TEST_P(dead_worker, is_noticed_soon_when_it_is_killed) {
    const bool polls = GetParam().wait == std::string{"poll"};
    EXPECT_LE(after([](worker_process& w) { w->kill(); }), 4s + (polls ? 1100ms : 0ms));
    const auto charged = GetParam().by_tcp ? row{"completed", "1", "0"} : row{"completed", "2", "1"};
    EXPECT_EQ(sql.exec("SELECT state, attempt, interruptions FROM haul.finished_jobs"), rows{charged});
}

TEST_P(dead_worker, is_noticed_within_15_seconds_when_it_hangs) {
    EXPECT_LE(after([](worker_process& w) { w->signal(SIGSTOP); }), 15s);
    EXPECT_EQ(sql.exec("SELECT state, attempt, interruptions FROM haul.finished_jobs"),
              (rows{{"completed", "1", "0"}}));
}

TEST_P(dead_worker, is_none_that_stood_still_for_less_than_10_seconds) {
    const auto w = worker("w", how());
    enqueue(3);
    await_running();
    {
        const frozen still{(*w)->pid()};
        expect_all_along([&] { return nobody_lost(); }, "it is not taken for dead", 9900ms);
    }
    expect_all_along([&] { return nobody_lost(); }, "it is not taken for dead", 1s);
    await_end();
    expect_uncharged();
}

INSTANTIATE_TEST_SUITE_P(, dead_worker,
                         testing::Values(connected{"listen", false}, connected{"call", false},
                                         connected{"poll", false}, connected{"listen", true},
                                         connected{"call", true}, connected{"poll", true}),
                         [](const auto& info) {
                             return std::string{info.param.wait} + (info.param.by_tcp ? "_tcp" : "_local");
                         });

} // namespace
} // namespace haul::test
