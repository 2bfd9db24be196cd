// The worker of a chain is killed, kill -9, again and again: between two members and in the middle of one.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"

#include <csignal>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

constexpr int members = 12;

class workflow_worker_killed : public ::testing::Test {
protected:
    workflow_worker_killed() {
        // An effect of each execution that got so far, written apart from the completion.
        database.exec("CREATE TABLE marks (n serial, member integer)");
    }

    std::unique_ptr<worker_process> start_worker() const {
        const std::string psql = cluster::program_directory() + "/psql";
        return std::make_unique<worker_process>(
            dsn,
            "haul:\n  heartbeat_interval: 0.5\n  handlers:\n    mark: {exec: [sh, -c, 'member=$(sed "
            "\"s/.*\\\"member\\\": "
            "*\\([0-9]*\\).*/\\1/\"); " +
                psql + " -qXc \"INSERT INTO marks (member) VALUES ($member)\" \"" + dsn +
                "\" && sleep 0.1']}\n",
            std::vector<std::string>{"--threads", "1:2"});
    }

    // The last of the chain that has an effect, or that has ended.
    std::int64_t marked() { return database.number("SELECT coalesce(max(member), 0) FROM marks"); }
    std::int64_t ended() { return database.number("SELECT count(*) FROM haul.finished_jobs"); }

    cluster server{{true, {{"haul.worker_timeout", "3s"}}}};
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(workflow_worker_killed, runs_every_member_in_order) {
    database.exec("SELECT haul.chain((SELECT jsonb_agg(jsonb_build_object('kind', 'mark', 'args', "
                  "jsonb_build_object('member', n), 'backoff', 'constant(0)') ORDER BY n) FROM "
                  "generate_series(1, $1) AS "
                  "n))",
                  {std::to_string(members)});
    auto worker = start_worker();
    for (int death = 1; death <= 4; ++death) {
        // Once in the middle of a member, whose effect is there; once right after the end of one.
        if (death % 2 == 1) {
            const auto before = marked();
            wait_until([&] { return marked() > before; }, "the next member has its effect");
        } else {
            const auto before = ended();
            wait_until([&] { return ended() > before; }, "the next member has ended");
        }
        (*worker)->kill();
        (*worker)->wait();
        database.exec("DELETE FROM haul.workers"); // at once, not after its timeout
        worker = start_worker();
    }
    wait_until([&] { return ended() == members; }, "the chain has ended", 60s);
    (*worker)->signal(SIGTERM);
    (*worker)->wait();
    database.exec("SELECT haul.maintain()");

    EXPECT_EQ(database.text("SELECT state FROM haul.workflow_status"), "completed");
    EXPECT_EQ(database.number("SELECT count(DISTINCT member) FROM marks"), members);
    // What a worker left running when it was killed may come late, a second time.
    EXPECT_EQ(
        database.exec(
            "SELECT member FROM (SELECT member, first, lag(first) OVER (ORDER BY member) AS before FROM "
            "(SELECT member, min(n) AS first FROM marks GROUP BY member) AS m) AS f WHERE before > first"),
        rows{})
        << "in order";
    EXPECT_EQ(
        database.exec(
            "SELECT b.step FROM haul._workflow_ends AS a JOIN haul._workflow_ends AS b ON b.step = a.step "
            "+ 1 WHERE b.started_at < a.finished_at"),
        rows{})
        << "none started before the one before it had ended";
    EXPECT_THAT(check(dsn), IsEmpty());
}

} // namespace
} // namespace haul::test
