// Jobs enqueued in the ways that programs have and psql has not: prepared statements, COPY, prepared
// transactions.
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;

class extension_enqueue : public ::testing::TestWithParam<bool> {
protected:
    cluster server{{GetParam(), {{"max_prepared_transactions", "4"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

INSTANTIATE_TEST_SUITE_P(, extension_enqueue, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "preloaded" : "not_preloaded"; });

TEST_P(extension_enqueue, prepared_statement) {
    const int times = 20; // enough for the server to change to a generic plan
    const auto ok = [&](PGresult* result, ExecStatusType expected) {
        const std::string message = PQerrorMessage(database.handle());
        EXPECT_EQ(PQresultStatus(result), expected) << message;
        PQclear(result);
    };
    ok(PQprepare(database.handle(), "enqueue",
                 "INSERT INTO haul.jobs (kind, args, priority) VALUES ($1, $2, $3) RETURNING id", 0, nullptr),
       PGRES_COMMAND_OK);
    for (int n = 1; n <= times; ++n) {
        const std::string args = R"({"n": )" + std::to_string(n) + "}";
        const std::string priority = std::to_string(n);
        const char* values[] = {"prepared", args.c_str(), priority.c_str()};
        ok(PQexecPrepared(database.handle(), "enqueue", 3, values, nullptr, nullptr, 0), PGRES_TUPLES_OK);
    }
    const char* refused[] = {"prepared", "{}", "0"};
    PGresult* result = PQexecPrepared(database.handle(), "enqueue", 3, refused, nullptr, nullptr, 0);
    EXPECT_STREQ(PQresultErrorField(result, PG_DIAG_SQLSTATE), "23514");
    PQclear(result);

    const rows jobs = database.exec("SELECT args ->> 'n' FROM haul.checkout(haul.register_worker('w'), 100)");
    ASSERT_EQ(jobs.size(), times);
    for (int n = 1; n <= times; ++n)
        EXPECT_EQ(jobs[n - 1][0], std::to_string(n));
}

TEST_P(extension_enqueue, copy) {
    std::string data;
    for (int n = 1; n <= 10000; ++n)
        data += "copied\t{\"n\": " + std::to_string(n) + "}\n";
    session listener(dsn);
    listener.exec("LISTEN haul");
    EXPECT_EQ(database.copy("COPY haul.jobs (kind, args) FROM STDIN", data), 10000);
    EXPECT_EQ(database.number(
                  "SELECT count(*) FROM haul.jobs WHERE kind = 'copied' AND state = 'ready' AND queue = "
                  "'default' AND enqueued_by = 'postgres' AND args ? 'n'"),
              10000);

    std::vector<notification> heard;
    wait_until(
        [&] {
            heard = listener.notifications();
            return !heard.empty();
        },
        "the COPY has been notified");
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].payload, "default");
}

TEST_P(extension_enqueue, copy_with_one_bad_row_enqueues_nothing) {
    session listener(dsn);
    listener.exec("LISTEN haul");
    try {
        database.copy("COPY haul.jobs (kind, priority) FROM STDIN", "good\t1\nbad\t0\ngood\t2\n");
        FAIL() << "a job of priority 0 was accepted";
    } catch (const sql_error& error) {
        EXPECT_EQ(error.sqlstate(), "23514");
        EXPECT_THAT(error.what(), HasSubstr("priority"));
    }
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs"), 0);
    // What comes later is heard, and nothing was before it.
    database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('good', 'later')");
    std::vector<notification> heard;
    wait_until(
        [&] {
            heard = listener.notifications();
            return !heard.empty();
        },
        "the INSERT has been notified");
    EXPECT_EQ(heard[0].payload, "later");
}

TEST_P(extension_enqueue, prepared_transaction) {
    const std::int64_t worker = database.number("SELECT haul.register_worker('w')");
    const std::string checkout = "SELECT kind FROM haul.checkout(" + std::to_string(worker) + ", 10)";

    database.exec("BEGIN; INSERT INTO haul.jobs (kind) VALUES ('committed'); PREPARE TRANSACTION 'one'");
    database.exec("BEGIN; INSERT INTO haul.jobs (kind) VALUES ('rolled back'); PREPARE TRANSACTION 'two'");
    EXPECT_EQ(database.exec(checkout), rows{});

    // Prepared transactions outlive the session and the server.
    server.restart("immediate");
    session later(dsn);
    EXPECT_EQ(later.exec(checkout), rows{});
    // Jobs which workers take meanwhile must not move them past those that wait for COMMIT PREPARED.
    later.exec("INSERT INTO haul.jobs (kind) VALUES ('meanwhile')");
    EXPECT_EQ(later.exec(checkout), rows{{"meanwhile"}});

    later.exec("COMMIT PREPARED 'one'");
    later.exec("ROLLBACK PREPARED 'two'");
    EXPECT_EQ(later.exec(checkout), rows{{"committed"}});
    EXPECT_EQ(later.exec(checkout), rows{});
}

TEST_P(extension_enqueue, nothing_leaks_from_a_prepared_transaction_into_the_next) {
    session listener(dsn);
    listener.exec("LISTEN haul");
    database.exec(
        "BEGIN; INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'prepared'); PREPARE TRANSACTION 'one'");
    database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'next')");
    std::vector<notification> heard;
    wait_until(
        [&] {
            heard = listener.notifications();
            return !heard.empty();
        },
        "the INSERT has been notified");
    EXPECT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0].payload, "next");
    database.exec("ROLLBACK PREPARED 'one'");
}

} // namespace
} // namespace haul::test
