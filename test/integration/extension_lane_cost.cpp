// A checkout costs what it takes, however many queues and priorities there are. Counted, not timed: lanes
// that were visited, and pages.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

constexpr int lanes = 2000;

class extension_lane_cost : public ::testing::Test {
protected:
    extension_lane_cost() {
        await_served(database);
        database.exec("ALTER TABLE haul.jobs SET (autovacuum_enabled = off)");
    }

    // A job in each of many lanes, all queues of one priority or all priorities of one queue.
    void insert_everywhere(const std::string& lane, const std::string& run_at = "now()") {
        database.exec("INSERT INTO haul.jobs (kind, queue, priority, run_at) SELECT 'k', " + lane + ", " +
                      run_at + " FROM generate_series(1, " + std::to_string(lanes) + ") AS n");
    }

    std::int64_t visits() { return database.number("SELECT coalesce(sum(scans), 0) FROM haul.lanes"); }

    std::int64_t take(int jobs, const std::string& as = "") {
        return database.number("SELECT count(*) FROM haul.checkout($1, $2)",
                               {as.empty() ? worker : as, std::to_string(jobs)});
    }

    // Visits of a call that is given how many jobs it finds.
    std::int64_t visits_of_taking(int jobs, int found) {
        const std::int64_t before = visits();
        EXPECT_EQ(take(jobs), found);
        return visits() - before;
    }

    std::int64_t pages(const std::string& sql) {
        database.exec(sql);
        const nlohmann::json plan =
            nlohmann::json::parse(database.text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql))
                .at(0)
                .at("Plan");
        return plan.at("Shared Hit Blocks").get<std::int64_t>() +
               plan.at("Shared Read Blocks").get<std::int64_t>();
    }

    cluster server{{true, {}}};
    std::string dsn = server.create_database();
    session database{dsn};
    std::string worker = database.text("SELECT haul.register_worker('w', '{\"wake\": \"none\"}')");
};

constexpr auto by_queue = "'queue ' || n, 5";
constexpr auto by_priority = "'q', n";

TEST_F(extension_lane_cost, of_a_job_is_the_same_in_many_queues) {
    insert_everywhere(by_queue);
    for (int job = 0; job < 100; ++job)
        EXPECT_LE(visits_of_taking(1, 1), 2); // that of the last job, found empty now, and the next one
    EXPECT_LE(visits_of_taking(lanes, lanes - 100), lanes - 100 + 1);
    EXPECT_LE(visits_of_taking(1, 0), 1);
    EXPECT_EQ(visits_of_taking(1, 0), 0);
}

TEST_F(extension_lane_cost, of_a_job_is_the_same_in_many_priorities) {
    for (int round = 0; round < 2; ++round) {
        insert_everywhere(by_priority);
        for (int job = 0; job < 100; ++job)
            EXPECT_LE(visits_of_taking(1, 1), 2);
        EXPECT_EQ(take(lanes), lanes - 100);
        (void)take(1);
        EXPECT_EQ(visits_of_taking(1, 0), 0);
    }
}

TEST_F(extension_lane_cost, of_queues_where_jobs_are_to_come_is_none) {
    insert_everywhere(by_queue, "now() + n * interval '1 h'");
    EXPECT_EQ(take(1), 0); // learns when they are due
    const std::string checkout = "SELECT * FROM haul.checkout(" + worker + ", 1)";
    const std::string next_due = "SELECT haul.next_due(" + worker + ")";
    EXPECT_EQ(visits_of_taking(1, 0), 0);
    EXPECT_LT(pages(checkout), 100);
    EXPECT_LT(pages(next_due), 100);
    EXPECT_TRUE(database.truth(next_due + " BETWEEN interval '59 min' AND interval '1 h'"));
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE next_due_at = floor_run_at"), lanes);
}

TEST_F(extension_lane_cost, of_jobs_for_others_is_paid_once) {
    insert_everywhere(by_queue);
    worker = database.text(R"(SELECT haul.register_worker('other', '{"wake": "none", "kinds": ["mine"]}'))");
    EXPECT_EQ(take(1), 0);
    EXPECT_EQ(visits_of_taking(1, 0), 0);
    database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('mine', 'queue 1999')");
    EXPECT_LE(visits_of_taking(1, 1), 2);
}

TEST_F(extension_lane_cost, of_order_is_none) {
    insert_everywhere(by_queue);
    database.exec("INSERT INTO haul.queues (name, priority) VALUES ('queue 1999', 1), ('queue 1', 32000)");
    const auto queues = [&](int jobs, const std::string& as) {
        return database.text("SELECT string_agg(queue, ', ') FROM haul.checkout($1, $2)",
                             {as, std::to_string(jobs)});
    };
    EXPECT_EQ(queues(2, worker), "queue 1999, queue 10");
    database.exec("UPDATE haul.queues SET priority = 2 WHERE name = 'queue 1'");
    database.exec("INSERT INTO haul.queues (name, priority) VALUES ('queue 777', 3)");
    EXPECT_EQ(queues(3, worker), "queue 1, queue 777, queue 100");
    database.exec("BEGIN; INSERT INTO haul.queues (name, priority) VALUES ('queue 888', 1)");
    EXPECT_EQ(queues(1, worker), "queue 888");
    database.exec("ROLLBACK");
    session other(dsn);
    EXPECT_EQ(other.text("SELECT string_agg(queue, ', ') FROM haul.checkout($1, 2)", {worker}),
              "queue 1000, queue 1001");
    const std::string listed = database.text(
        R"(SELECT haul.register_worker('l',
            '{"queues": ["queue 9", "queue 3", "none", "queue 5"], "exclude": ["queue 3"]}'))");
    EXPECT_EQ(queues(9, listed), "queue 9, queue 5");
    database.exec(
        "INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'a.1'), ('k', 'a.2'), ('k', 'b.1'), ('k', 'a')");
    database.exec("INSERT INTO haul.queues (name, priority) VALUES ('a.2', 7), ('b.1', 7)");
    const std::string tenant = database.text("SELECT haul.register_worker('t', '{\"namespace\": \"a\"}')");
    EXPECT_EQ(queues(9, tenant), "a.2, a.1");
}

// As an enqueuer might who wants to do harm.
TEST_F(extension_lane_cost, of_jobs_that_are_gone_is_forgotten) {
    server.set("haul.sweep_interval", "1");
    server.set("haul.sweep_load", "1");
    insert_everywhere(by_queue, "timestamptz '2100-01-01'");
    EXPECT_EQ(take(1), 0);
    EXPECT_EQ(database.number("SELECT count(next_due_at) FROM haul.lanes"), lanes);
    database.exec("DELETE FROM haul.jobs");
    // The background worker sweeps while somebody waits.
    session waiting(dsn);
    const std::string id = waiting.text("SELECT haul.register_worker('waits')");
    waiting.send("CALL haul.checkout_wait(" + id + ", 1, '1 h')");
    wait_until([&] { return database.number("SELECT count(next_due_at) FROM haul.lanes") == 0; },
               "due times are forgotten", 60s);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.lanes WHERE floor_run_at < 'infinity'"), 0);
}

// A walk through the index goes on where it was, and still finds all there is.
TEST(extension_lane_cost_unpreloaded, of_lanes_in_front_is_not_paid_by_each_call) {
    cluster server{{false, {}}};
    const std::string dsn = server.create_database();
    session database{dsn};
    const std::string worker = database.text("SELECT haul.register_worker('w')");
    database.exec("INSERT INTO haul.jobs (kind, queue) SELECT 'k', 'queue ' || n FROM generate_series(1, " +
                  std::to_string(lanes) + ") AS n");
    for (int job = 0; job < lanes; ++job)
        ASSERT_EQ(database.number("SELECT count(*) FROM haul.checkout($1, 1)", {worker}), 1);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.checkout($1, 1)", {worker}), 0);
    // in front of where the last call ended
    database.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'queue 5'), ('k', 'queue 1')");
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.checkout($1, 3)", {worker}), 2);
}

} // namespace
} // namespace haul::test
