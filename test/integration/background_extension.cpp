// Databases are served by background workers from the moment when they have the extension until they have it
// no more; others are left alone.
#include "support/background.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>

namespace haul::test {
namespace {

class background_extension : public testing::Test {
protected:
    // A database without the extension.
    session bare_database(const std::string& name) {
        admin.exec("CREATE DATABASE " + name);
        return session(server.dsn(name));
    }

    // A commit is enough to have somebody called.
    void expect_that_workers_are_called(const std::string& name) {
        waiting_worker worker(server.dsn(name));
        worker.work_until_idle();
        session(server.dsn(name)).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
        worker.await_call(soon);
        EXPECT_EQ(worker.work(), 1);
    }

    // Workers are looked after for as long as the launcher would take for another attempt or two.
    void expect_no_more_starts(const log_watch& log) {
        const int starts = log.count(start);
        expect_all_along([&] { return log.count(start) == starts; }, "no worker is started", 4s);
        EXPECT_EQ(log.complaints(), "");
    }

    const std::string start = "starting background worker process \"pg_haul worker";
    cluster server{{true, {{"log_min_messages", "debug1"}, {"haul.maintenance_interval", "1s"}}}};
    session admin{server.dsn()};
};

TEST_F(background_extension, the_launcher_starts_with_the_server_and_is_in_no_database) {
    const std::string launchers =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_haul launcher' AND datname IS NULL";
    wait_until([&] { return admin.number(launchers) == 1; }, "there is a launcher");
    session database(server.create_database());
    EXPECT_EQ(background_of(database).launcher,
              admin.number("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_haul launcher'"));
    EXPECT_TRUE(background_of(database).preloaded);
}

TEST_F(background_extension, a_database_is_served_as_soon_as_it_is_created) {
    session database = bare_database("one");
    database.exec("CREATE EXTENSION pg_haul");
    await_served(database, soon);
    expect_that_workers_are_called("one");
}

TEST_F(background_extension, created_and_used_in_one_transaction_is_served_when_that_commits) {
    session database = bare_database("one");
    const log_watch log(server);
    database.exec("BEGIN; CREATE EXTENSION pg_haul; INSERT INTO haul.jobs (kind) VALUES ('k')");
    wait_until([&] { return log.count(start) > 0; }, "the launcher has looked into the database");
    wait_until([&] { return workers_in(admin, "one") == 0; }, "and found nothing there");
    database.exec("COMMIT");
    await_served(database, soon);
    expect_that_workers_are_called("one");
}

TEST_F(background_extension, rolled_back_it_leaves_no_traces) {
    session database = bare_database("one");
    const log_watch log(server);
    database.exec("BEGIN; CREATE EXTENSION pg_haul; INSERT INTO haul.jobs (kind) VALUES ('k'); ROLLBACK");
    wait_until([&] { return log.count(start) > 0 && workers_in(admin, "one") == 0; },
               "the launcher has looked into the database");
    expect_no_more_starts(log);

    database.exec("CREATE EXTENSION pg_haul");
    await_served(database, soon);
    expect_that_workers_are_called("one");
}

TEST_F(background_extension, a_database_without_it_is_looked_at_once) {
    bare_database("one");
    bare_database("two");
    server.stop();
    const log_watch log(server);
    server.start(); // then it looks at all there are
    admin = session(server.dsn());
    // these two and "postgres"; template databases are nobody's to work in
    wait_until([&] { return log.count(start) == 3; }, "the launcher has looked into each database");
    wait_until([&] { return log.count("background worker \"pg_haul worker\" (PID") >= 3; },
               "they have ended");
    expect_no_more_starts(log);
    EXPECT_EQ(log.count(start), 3);
}

TEST_F(background_extension, dropped_the_worker_ends_and_created_again_it_comes_back) {
    session database(server.create_database("one"));
    await_served(database);
    for (int round = 0; round < 2; ++round) {
        waiting_worker worker(server.dsn("one"));
        EXPECT_EQ(worker.work(), 0);
        wait_until([&] { return workers_in(admin, "one") == 1; },
                   "the background worker stays with who waits");

        const log_watch log(server);
        database.exec("DROP EXTENSION pg_haul CASCADE");
        wait_until([&] { return workers_in(admin, "one") == 0; }, "the background worker has ended");
        expect_no_more_starts(log);

        database.exec("CREATE EXTENSION pg_haul");
        await_served(database, soon);
        expect_that_workers_are_called("one");
    }
}

TEST_F(background_extension, a_drop_that_is_rolled_back_changes_nothing) {
    session database(server.create_database("one"));
    await_served(database);
    waiting_worker worker(server.dsn("one"));
    EXPECT_EQ(worker.work(), 0);
    const log_watch log(server);
    database.exec("BEGIN; DROP EXTENSION pg_haul CASCADE; ROLLBACK");
    EXPECT_TRUE(background_of(database).served);
    database.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    worker.await_call(soon);
    EXPECT_EQ(worker.work(), 1);
    EXPECT_EQ(log.complaints(), "");
}

TEST_F(background_extension, a_copy_of_a_database_is_served_when_it_is_used) {
    session(server.create_database("one")).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    admin.exec("CREATE DATABASE two TEMPLATE one");
    waiting_worker worker(server.dsn("two"));
    EXPECT_EQ(worker.work_until_idle(), 1);
    await_served(worker.connection(), soon);
    expect_that_workers_are_called("two");
}

TEST_F(background_extension, a_copy_of_a_database_is_served_when_the_launcher_looks_around) {
    session(server.create_database("one")).exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    admin.exec("CREATE DATABASE two TEMPLATE one");
    admin.exec("SELECT pg_reload_conf()"); // at once, and not within a minute
    session database(server.dsn("two"));
    await_served(database, soon);
}

TEST_F(background_extension, a_database_where_nothing_happens_is_left_alone) {
    session database(server.create_database("one"));
    await_served(database);
    wait_until([&] { return workers_in(admin, "one") == 0; }, "the worker has found nothing to do");
    const log_watch log(server);
    expect_all_along([&] { return log.count(start) <= 1; }, "its worker is hardly ever started", 6s);
}

TEST(background_unpreloaded, there_is_nobody_in_the_background) {
    cluster server{{false, {}}};
    session database(server.create_database());
    const background seen = background_of(database);
    EXPECT_FALSE(seen.preloaded);
    EXPECT_EQ(seen.launcher, 0);
    EXPECT_EQ(seen.worker, 0);
    EXPECT_FALSE(seen.served);
    EXPECT_EQ(seen.waiting, 0);
}

} // namespace
} // namespace haul::test
