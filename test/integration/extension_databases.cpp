// Several databases of one cluster have the extension: they know nothing of each other, and each can go.
#include "support/checker.hpp"
#include "support/cluster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

TEST(extension_databases, are_independent) {
    cluster server;
    session one(server.create_database("one"));
    session two(server.create_database("two"));

    one.exec("INSERT INTO haul.jobs (kind) VALUES ('one')");
    two.exec("INSERT INTO haul.jobs (kind) VALUES ('two')");
    EXPECT_EQ(one.text("SELECT kind FROM haul.checkout(haul.register_worker('w'), 10)"), "one");
    EXPECT_EQ(two.text("SELECT kind FROM haul.checkout(haul.register_worker('w'), 10)"), "two");

    // Maintenance of one database does not keep that of the other from running.
    one.exec("BEGIN");
    EXPECT_TRUE(one.truth("SELECT (haul.maintain() -> 'ran')::boolean"));
    EXPECT_TRUE(two.truth("SELECT (haul.maintain() -> 'ran')::boolean"));
    one.exec("COMMIT");

    two.exec("DELETE FROM haul.workers");
    EXPECT_EQ(two.text("SELECT state FROM haul.jobs"), "ready");
    EXPECT_EQ(one.text("SELECT state FROM haul.jobs"), "running");
    EXPECT_THAT(check(server.dsn("one")), IsEmpty());
    EXPECT_THAT(check(server.dsn("two")), IsEmpty());
}

TEST(extension_databases, can_be_copied_and_dropped) {
    cluster server;
    const std::string dsn = server.create_database("one");
    session(dsn).exec("INSERT INTO haul.jobs (kind) VALUES ('one')");
    session(dsn).exec("SELECT haul.checkout(haul.register_worker('w'))");

    session admin(server.dsn());
    admin.exec("CREATE DATABASE two TEMPLATE one");
    admin.exec("DROP DATABASE one");
    EXPECT_EQ(session(server.dsn("two")).text("SELECT state FROM haul.jobs"), "running");
    EXPECT_THAT(check(server.dsn("two")), IsEmpty());
}

TEST(extension_databases, can_lose_the_extension_and_get_it_back) {
    cluster server;
    session database(server.create_database());
    for (int round = 0; round < 2; ++round) {
        // The same session all along: what it has cached about the tables must go with them.
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
        EXPECT_EQ(database.number("WITH w AS MATERIALIZED (SELECT haul.register_worker('w') AS id) "
                                  "SELECT count(haul.complete(w.id, ARRAY[c.id], ARRAY[c.claim])) "
                                  "FROM w, haul.checkout(w.id, 10) AS c"),
                  10);
        EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs"), 10);
        database.exec("DROP EXTENSION pg_haul CASCADE");
        EXPECT_EQ(
            database.number("SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text = 'haul'"),
            0);
        database.exec("DROP SCHEMA IF EXISTS haul; CREATE EXTENSION pg_haul");
    }
}

} // namespace
} // namespace haul::test
