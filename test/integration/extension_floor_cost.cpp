// What floors are for: while a transaction pins the horizon, dead index entries cannot go, and pile up where
// each claim would start.
#include "support/background.hpp"
#include "support/cluster.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

constexpr int finished = 100000;

// Whether a background worker serves the database.
class extension_floor_cost : public ::testing::TestWithParam<bool> {
protected:
    extension_floor_cost() {
        if (GetParam())
            await_served(database);
        database.exec("ALTER TABLE haul.jobs SET (autovacuum_enabled = off)");
        // So many jobs that nobody asks for make the indexes as high as they will be in the end.
        database.exec("INSERT INTO haul.jobs (kind, queue, run_at, expires_at) SELECT 'k', 'elsewhere', "
                      "'2100-01-01', '2100-01-02' "
                      "FROM generate_series(1, $1)",
                      {std::to_string(finished)});
        pin.exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class");
    }

    // Pages that a statement looks at. The first time, a session also reads the catalogs.
    std::int64_t pages(const std::string& sql) {
        database.exec(sql);
        const nlohmann::json plan =
            nlohmann::json::parse(database.text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql))
                .at(0)
                .at("Plan");
        return plan.at("Shared Hit Blocks").get<std::int64_t>() +
               plan.at("Shared Read Blocks").get<std::int64_t>();
    }

    // Nothing is found, before and after, at twice the cost at most; without floors, at many times the cost.
    void expect_flat(std::int64_t before, std::int64_t after) {
        if (GetParam())
            EXPECT_LE(after, 2 * before);
        else
            EXPECT_GE(after, 10 * before) << "the test would not tell if floors were not used";
    }

    cluster server{{true, {{"haul.databases", GetParam() ? "*" : "nowhere"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
    session pin{dsn};
    std::string worker = database.text("SELECT haul.register_worker('w', '{\"queues\": [\"q\"]}')");
    std::string checkout = "SELECT * FROM haul.checkout(" + worker + ", 10)";
};

INSTANTIATE_TEST_SUITE_P(, extension_floor_cost, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "served" : "not_served"; });

TEST_P(extension_floor_cost, of_a_checkout_that_finds_nothing) {
    database.exec("INSERT INTO haul.jobs (kind, queue, keep) VALUES ('k', 'q', '0')");
    const std::string work = "SELECT count(haul.complete(" + worker +
                             ", ARRAY[id], ARRAY[claim])) FROM haul.checkout(" + worker + ", 10000)";
    ASSERT_EQ(database.number(work), 1);
    const std::int64_t before = pages(checkout);

    database.exec(
        "INSERT INTO haul.jobs (kind, queue, keep) SELECT 'k', 'q', '0' FROM generate_series(1, $1)",
        {std::to_string(finished)});
    for (int done = 0; done < finished; done += 10000)
        ASSERT_EQ(database.number(work), 10000);
    expect_flat(before, pages(checkout));
    expect_flat(before, pages("SELECT haul.next_due(" + worker + ")"));
}

TEST_P(extension_floor_cost, of_a_checkout_that_may_not_take_what_is_there) {
    worker = database.text(R"(SELECT haul.register_worker('w', '{"queues": ["q"], "kinds": ["mine"]}'))");
    checkout = "SELECT * FROM haul.checkout(" + worker + ", 10)";
    database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('not mine', 'q')");
    const std::int64_t before = pages(checkout);
    database.exec("INSERT INTO haul.jobs (kind, queue) SELECT 'not mine', 'q' FROM generate_series(1, $1)",
                  {std::to_string(finished)});
    expect_flat(before, pages(checkout));
}

TEST_P(extension_floor_cost, of_expiry_that_finds_nothing) {
    const std::string expire = "SELECT haul._expire(10000, false)";
    database.exec("INSERT INTO haul.jobs (kind, queue, expires_at, keep) VALUES ('k', 'q', now() - interval "
                  "'1 hour', '0')");
    while (database.number(expire) > 0) {
    }
    const std::int64_t before = pages(expire);
    database.exec("INSERT INTO haul.jobs (kind, queue, expires_at, keep) SELECT 'k', 'q', now() - interval "
                  "'1 hour', '0' FROM "
                  "generate_series(1, $1)",
                  {std::to_string(finished)});
    while (database.truth("SELECT EXISTS (SELECT FROM haul.jobs WHERE queue = 'q')"))
        database.exec(expire);
    expect_flat(before, pages(expire));
    // What expires later is found all the same.
    database.exec("INSERT INTO haul.jobs (kind, queue, expires_at, keep) VALUES ('k', 'q', now(), '0')");
    while (database.number(expire) == 0 &&
           database.truth("SELECT EXISTS (SELECT FROM haul.jobs WHERE queue = 'q')")) {
    }
    EXPECT_EQ(database.number("SELECT sum(drops) FROM haul.counters"), finished + 2);
}

} // namespace
} // namespace haul::test
