// Commands that want a database for themselves get it although background workers serve it: those step aside.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <tuple>

namespace haul::test {
namespace {

// What keeps a background worker in the database, with no session of anybody.
enum class busy_with { nothing, waiter, grace, maintenance, sweep };

const char* name_of(busy_with what) {
    switch (what) {
    case busy_with::nothing:
        return "nothing";
    case busy_with::waiter:
        return "waiter";
    case busy_with::grace:
        return "grace";
    case busy_with::maintenance:
        return "maintenance";
    case busy_with::sweep:
        return "sweep";
    }
    return "";
}

struct command {
    const char* name;
    const char* sql;
    const char* result; // the database that is there afterwards
};

const command drop = {"drop", "DROP DATABASE one", nullptr};
const command drop_force = {"drop_force", "DROP DATABASE one WITH (FORCE)", nullptr};
const command rename = {"rename", "ALTER DATABASE one RENAME TO two", "two"};
const command copy = {"copy", "CREATE DATABASE two TEMPLATE one", "two"};

class background_commands : public testing::TestWithParam<std::tuple<command, busy_with>> {
protected:
    void make_busy() {
        switch (std::get<busy_with>(GetParam())) {
        case busy_with::nothing:
            session(dsn).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
            break;
        case busy_with::waiter: {
            waiting_worker worker(dsn, "queue");
            EXPECT_EQ(worker.work(), 0);
            await_worker();
            return; // when it has just left
        }
        case busy_with::grace:
            server.set("haul.reconnect_grace", "10min");
            waiting_worker(dsn).work(); // it might come back
            break;
        case busy_with::maintenance:
            start_maintenance();
            break;
        case busy_with::sweep:
            start_sweep();
            break;
        }
        await_worker();
    }

    void await_worker() {
        wait_until([&] { return workers_in(admin, "one") == 1; }, "the background worker is there");
    }

    // Leaves the worker in the middle of a pass.
    void start_maintenance() {
        session database(dsn);
        database.exec(
            "INSERT INTO haul.jobs (kind, queue_timeout) SELECT 'k', '1 ms' FROM generate_series(1, 20000)");
        server.set("haul.maintenance_interval", "1s");
        wait_until(
            [&] {
                const pid_t worker = background_of(database).worker;
                if (worker == 0)
                    return false;
                pass = std::make_unique<frozen>(worker);
                if (admin.truth(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_haul worker'"
                        " AND datname = 'one' AND state = 'active' AND query LIKE '%duty%')"))
                    return true;
                pass.reset();
                return false;
            },
            "the worker maintains");
    }

    // Leaves the worker in the middle of a sweep that takes minutes: past jobs that are running.
    void start_sweep() {
        session database(dsn);
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 50000)");
        const std::string busy = database.text("SELECT haul.register_worker('busy', '{\"wake\": \"none\"}')");
        for (int n = 0; n < 5; ++n)
            database.exec("SELECT count(*) FROM haul.checkout($1, 10000)", {busy});
        waiting_worker worker(dsn, "queue"); // which the background worker stays with
        EXPECT_EQ(worker.work(), 0);
        wait_until([&] { return database.truth("SELECT sum(sweeps) > 0 FROM haul.lanes"); },
                   "a sweep has ended");
        server.set("haul.sweep_load", "0.0001");
        const std::string before = database.text("SELECT max(last_sweep_at) FROM haul.lanes");
        wait_until([&] { return database.truth("SELECT max(last_sweep_at) > $1 FROM haul.lanes", {before}); },
                   "the next one has begun");
    }

    cluster server{{true,
                    {{"haul.maintenance_interval", "1h"}, // by itself it stays away
                     {"haul.sweep_interval", "1s"},
                     {"haul.sweep_load", "1"},
                     {"autovacuum", "off"}}}};
    std::string dsn = server.create_database("one");
    session admin{server.dsn()};
    std::unique_ptr<frozen> pass; // ends before the server does
};

TEST_P(background_commands, get_the_database_for_themselves) {
    const command& command = std::get<struct command>(GetParam());
    {
        session database(dsn);
        await_served(database);
    }
    make_busy();
    const log_watch log(server);
    admin.send(command.sql);
    pass.reset(); // the command has come to its first look by now, or will find the worker gone
    admin.finish();

    // WITH (FORCE) ends the worker, and before the database is gone: one attempt to start another may fail.
    const int ended = command.sql == drop_force.sql ? 1 : 0;
    expect_all_along([&] { return log.count("does not exist") <= ended; }, "nobody looks for what is gone",
                     3s);
    // The same goes for the session that waits.
    EXPECT_LE(log.count("FATAL:  "), 3 * ended) << log.text();
    if (command.result == nullptr)
        return;
    waiting_worker worker(server.dsn(command.result));
    worker.work_until_idle();
    await_served(worker.connection());
    session(server.dsn(command.result)).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
}

std::string test_name(const testing::TestParamInfo<background_commands::ParamType>& info) {
    return std::string(std::get<0>(info.param).name) + "_during_" + name_of(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(, background_commands,
                         testing::Combine(testing::Values(drop, drop_force, rename, copy),
                                          testing::Values(busy_with::nothing, busy_with::waiter)),
                         test_name);
INSTANTIATE_TEST_SUITE_P(at_work, background_commands,
                         testing::Combine(testing::Values(drop),
                                          testing::Values(busy_with::grace, busy_with::maintenance,
                                                          busy_with::sweep)),
                         test_name);

} // namespace
} // namespace haul::test
