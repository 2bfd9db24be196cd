// How many lanes enqueuers can make, and that those in which there is nothing any more are found.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;

class extension_lane_limits : public testing::Test {
protected:
    extension_lane_limits() { await_served(sql); }

    std::string refusal(const std::string& statement) {
        try {
            sql.exec(statement);
        } catch (const sql_error& error) {
            return error.sqlstate() + " " + error.what();
        }
        return "accepted";
    }

    static std::string enqueue(const std::string& queue, int priority = 1, const std::string& more = "") {
        return "INSERT INTO haul.jobs (kind, queue, priority, run_at" + more + ") VALUES ('k', '" + queue +
               "', " + std::to_string(priority);
    }

    cluster server{{true,
                    {{"haul.max_queues", "3"},
                     {"haul.max_lanes_per_queue", "3"},
                     {"haul.sweep_interval", "1"},
                     {"haul.sweep_load", "1"}}}};
    session sql{server.create_database()};
};

TEST_F(extension_lane_limits, hold_for_queues) {
    for (const char* queue : {"a", "b", "c"})
        EXPECT_EQ(refusal(enqueue(queue) + ", now())"), "accepted");
    const std::string refused = refusal(enqueue("d") + ", now())");
    EXPECT_THAT(refused, HasSubstr("53400"));
    EXPECT_THAT(refused, HasSubstr("has jobs in 3 queues already, and none can be added in queue \"d\""));
    EXPECT_THAT(refusal("INSERT INTO haul.jobs (kind, queue, unique_key) VALUES ('k', 'd', 'u')"),
                HasSubstr("53400"));
    EXPECT_THAT(refusal("SELECT haul.chain('[{\"kind\": \"k\"}, {\"kind\": \"k\", \"queue\": \"d\"}]')"),
                HasSubstr("53400"));
    EXPECT_THAT(refusal("UPDATE haul.jobs SET queue = 'd' WHERE queue = 'a'"), HasSubstr("53400"));
    EXPECT_EQ(refusal(enqueue("a") + ", now())"), "accepted");
    EXPECT_EQ(refusal("BEGIN; SET LOCAL haul.max_queues = 4; " + enqueue("d") + ", now()); ROLLBACK"),
              "accepted");
}

TEST_F(extension_lane_limits, hold_for_the_priorities_of_a_queue) {
    for (int priority = 1; priority <= 3; ++priority)
        EXPECT_EQ(refusal(enqueue("a", priority) + ", now())"), "accepted");
    const std::string refused = refusal(enqueue("a", 4) + ", now())");
    EXPECT_THAT(refused, HasSubstr("53400"));
    EXPECT_THAT(
        refused,
        HasSubstr("queue \"a\" has jobs of 3 priorities already, and none can be added of priority 4"));
    EXPECT_EQ(refusal(enqueue("a", 3) + ", now())"), "accepted");
    EXPECT_EQ(refusal(enqueue("b", 4) + ", now())"), "accepted");
}

// What is there already comes back, and a dump comes in.
TEST_F(extension_lane_limits, are_for_enqueuers) {
    const std::string worker = sql.text("SELECT haul.register_worker('w')");
    sql.exec(enqueue("a") + ", now())");
    sql.exec("SET haul.max_queues = 1");
    EXPECT_EQ(sql.text("SELECT haul.fail($1, id, claim, 'e', NULL, '0', 'elsewhere') FROM haul.checkout($1)",
                       {worker}),
              "ready");
    sql.exec("SET check_function_bodies = off"); // as dumps do
    EXPECT_EQ(refusal("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'restored')"), "accepted");
}

// Nobody takes jobs of these lanes, so no checkout comes by.
TEST_F(extension_lane_limits, forget_what_was_to_come_in_a_lane_when_it_is_gone) {
    sql.exec(enqueue("a") + ", '9999-01-01')");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.lanes WHERE next_due_at > '9000-01-01'"), 1);
    sql.exec("DELETE FROM haul.jobs");
    EXPECT_EQ(refusal("BEGIN; " + enqueue("b") + ", now()); ROLLBACK"), "accepted");
    wait_until(
        [&] {
            return sql.truth(
                "SELECT count(*) = 2 AND bool_and(next_due_at IS NULL AND floor_run_at = 'infinity')"
                " FROM haul.lanes");
        },
        "nothing is known to be in the lanes");
}

} // namespace
} // namespace haul::test
