// Random graphs of jobs, random outcomes by several workers at once, of which some vanish: what is left keeps
// the rules of workflows.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/session.hpp"

#include <algorithm>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

namespace haul::test {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

constexpr int workers = 4;
constexpr int members = 250;

using generator = std::mt19937_64;

int draw(generator& random, int below) {
    return std::uniform_int_distribution<int>{0, below - 1}(random);
}

/// What a member comes after, and what it does when that has no success.
using edges = std::map<std::string, std::string>;
using graph = std::map<std::string, edges>;

graph random_graph(generator& random) {
    // Numbers in one order, names in another: the server has to find the order itself.
    std::vector<int> names(members);
    for (int n = 0; n < members; ++n)
        names[static_cast<std::size_t>(n)] = n;
    std::shuffle(names.begin(), names.end(), random);
    const auto name = [&](int n) { return "m" + std::to_string(names[static_cast<std::size_t>(n)]); };

    const std::vector<std::string> policies{"cancel", "run", "run", "wait"};
    graph made;
    for (int n = 0; n < members; ++n) {
        auto& after = made[name(n)];
        // Some gather more than fit one gate.
        const int most = n % 50 == 49 ? 150 : 4;
        for (int edge = n == 0 ? 0 : draw(random, std::min(n, most) + 1); edge > 0; --edge)
            after[name(draw(random, n))] =
                most == 4 ? policies[static_cast<std::size_t>(draw(random, 4))] : "run";
    }
    return made;
}

json description(const graph& all) {
    json jobs = json::array();
    for (const auto& [name, after] : all) {
        json job{{"name", name}, {"kind", "k"}, {"max_attempts", 3}, {"backoff", "constant(0)"}};
        for (const auto& [other, policy] : after)
            job["after"].push_back({{"name", other}, {"if_failed", policy}});
        jobs.push_back(std::move(job));
    }
    return {{"jobs", std::move(jobs)}};
}

/// A worker that is nothing but a session.
class chaotic_worker {
public:
    chaotic_worker(const std::string& dsn, std::uint64_t seed, bool always_succeeds)
        : database_{dsn}, random_{seed}, always_succeeds_{always_succeeds} {
        enter();
    }

    /// Until nothing is ready or runs.
    void work() {
        while (database_.truth("SELECT EXISTS (SELECT FROM haul.jobs WHERE state IN ('ready', 'running'))")) {
            const auto taken = database_.exec("SELECT id, claim FROM haul.checkout($1, $2)",
                                              {id_, std::to_string(1 + draw(random_, 5))});
            for (const auto& job : taken) {
                if (!settle(*job[0], *job[1]))
                    break;
            }
        }
        database_.exec("DELETE FROM haul.workers WHERE id = $1", {id_});
    }

private:
    void enter() { id_ = database_.text("SELECT haul.register_worker('w', '{}')"); }

    /// False when it has vanished, and with it the rest of what it held.
    bool settle(const std::string& job, const std::string& claim) {
        const std::vector<value> names{id_, job, claim};
        switch (always_succeeds_ ? 19 : draw(random_, 20)) {
        case 0:
            database_.exec("DELETE FROM haul.workers WHERE id = $1", {id_});
            enter();
            return false;
        case 1:
            database_.exec("SELECT haul.fail($1, $2, $3, 'final', final => true)", names);
            return true;
        case 2:
            database_.exec("SELECT haul.fail($1, $2, $3, 'again', retry_in => '0')", names);
            return true;
        case 3:
            database_.exec("SELECT haul.discard($1, $2, $3, 'discarded')", names);
            return true;
        case 4:
            database_.exec("SELECT haul.cancelled($1, $2, $3, 'cancelled')", names);
            return true;
        case 5:
            database_.exec("SELECT haul.release($1, ARRAY[$2::bigint], ARRAY[$3::integer])", names);
            return true;
        default:
            database_.exec("SELECT haul.complete($1, ARRAY[$2::bigint], ARRAY[$3::integer], strict => true)",
                           names);
            return true;
        }
    }

    session database_;
    std::string id_;
    generator random_;
    bool always_succeeds_;
};

class workflow_random : public ::testing::TestWithParam<int> {
protected:
    void work(bool always_succeed) {
        std::vector<std::thread> threads;
        std::atomic<int> broken{0};
        for (int n = 0; n < workers; ++n)
            threads.emplace_back([&, seed = random()] {
                try {
                    chaotic_worker{dsn, seed, always_succeed}.work();
                } catch (const std::exception& error) {
                    ADD_FAILURE() << error.what();
                    ++broken;
                }
            });
        for (auto& thread : threads)
            thread.join();
        database.exec("SELECT haul.maintain()");
        EXPECT_EQ(broken, 0);
        EXPECT_THAT(check(dsn), IsEmpty());
    }

    struct end {
        std::string state;
        bool ran = false;
    };

    /// Of each member.
    std::map<std::string, end> ends() {
        std::map<std::string, end> found;
        for (const auto& row :
             database.exec("SELECT name, state, started_at IS NOT NULL FROM haul.workflow_steps"))
            EXPECT_TRUE(found.emplace(*row[0], end{*row[1], *row[2] == "t"}).second) << *row[0];
        return found;
    }

    void expect_the_rules(const graph& all) {
        const auto how = ends();
        ASSERT_EQ(how.size(), all.size());
        for (const auto& [name, after] : all) {
            const auto& [state, ran] = how.at(name);
            bool is_free = true;
            bool must_cancel = false;
            for (const auto& [other, policy] : after) {
                const auto& before = how.at(other).state;
                const bool ended = before != "waiting";
                is_free = is_free && ended && (before == "completed" || policy == "run");
                must_cancel = must_cancel || (ended && before != "completed" && policy == "cancel");
            }
            if (must_cancel) {
                EXPECT_EQ(state, "cancelled") << name;
                EXPECT_FALSE(ran) << name;
            } else if (is_free) {
                EXPECT_TRUE(ran) << name << " is " << state;
                EXPECT_NE(state, "waiting") << name;
            } else {
                EXPECT_EQ(state, "waiting") << name;
                EXPECT_FALSE(ran) << name;
            }
        }
        EXPECT_EQ(
            database.exec(
                "SELECT m.name, p.name FROM haul.workflow_steps AS m JOIN haul.workflow_jobs AS w USING "
                "(workflow_id, step) JOIN haul.workflow_steps AS p ON p.step = ANY (w.after) WHERE "
                // not one that was tried again when this had run already
                "m.job_id > p.job_id AND "
                "(m.started_at < p.finished_at OR m.started_at IS NOT NULL AND p.finished_at IS NULL)"),
            rows{})
            << "started before one that it comes after had ended";
        EXPECT_EQ(database.exec("SELECT job_id FROM haul._workflow_ends GROUP BY job_id HAVING count(*) > 1"),
                  rows{})
            << "ended twice";
    }

    cluster server;
    std::string dsn = server.create_database();
    session database{dsn};
    generator random{static_cast<std::uint64_t>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(, workflow_random, ::testing::Values(1, 2, 3));

TEST_P(workflow_random, graphs_keep_the_rules) {
    const auto all = random_graph(random);
    const auto id = database.text("SELECT haul.workflow($1)", {description(all).dump()});
    work(false);
    expect_the_rules(all);
    EXPECT_THAT(database.text("SELECT state FROM haul.workflow_status"), testing::AnyOf("stuck", "failed"));

    // What did not succeed is tried again, with better luck.
    database.exec("SELECT haul.retry_workflow($1)", {id});
    work(true);
    expect_the_rules(all);
    EXPECT_EQ(database.text("SELECT state FROM haul.workflow_status"), "completed");
    EXPECT_EQ(database.exec("SELECT id, missing FROM haul._gates WHERE missing <> 0"), rows{});
}

} // namespace
} // namespace haul::test
