// Workflows and periodic jobs, run by a worker.
#include "haul/client.hpp"
#include "haul/pqxx_compat.hpp"
#include "support/checker.hpp"
#include "support/temporary_directory.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <fstream>
#include <gmock/gmock.h>
#include <mutex>

namespace haul::test {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;

class worker_workflows : public worker_fixture {
protected:
    std::string state(std::int64_t workflow) {
        return sql.text("SELECT state FROM haul.workflow_status WHERE id = $1", {std::to_string(workflow)});
    }
    void await_state(std::int64_t workflow, const std::string& wanted) {
        await("(SELECT state FROM haul.workflow_status WHERE id = " + std::to_string(workflow) + ") = '" +
              wanted + "'");
    }
    rows steps(std::int64_t workflow) {
        return sql.exec("SELECT name, state FROM haul.workflow_steps WHERE workflow_id = $1 ORDER BY name",
                        {std::to_string(workflow)});
    }

    void TearDown() override {
        sql.exec("SELECT haul.maintain()");
        EXPECT_THAT(check(dsn), IsEmpty());
        worker_fixture::TearDown();
    }

    client enqueuer{dsn};
};

TEST_F(worker_workflows, results_reach_the_jobs_that_come_after) {
    const std::string big = "12345678901234567890.12345678901234567890";
    const temporary_directory directory;
    const std::string file = (directory.path() / "input").string();
    sql.exec("CREATE FUNCTION merge(args jsonb, job jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT job $$");

    json in_handler;
    json in_transaction;
    std::optional<std::int64_t> workflow_id;
    std::atomic<bool> was_idle{false};
    worker w{options()};
    w.on("extract", [&](const job_context& job) {
        EXPECT_EQ(job.results(), json::object());
        return completed::with_text("{\"n\": " + big + ", \"from\": " + job.args().at("from").dump() + "}");
    });
    w.on("nothing", [](const job_context&) {});
    w.on("load", [&](const job_context& job) {
        workflow_id = job.workflow_id();
        EXPECT_EQ(job.cron_name(), "");
        EXPECT_NE(job.results_text().find(big), std::string::npos) << job.results_text();
        // nothing stays open
        was_idle = session{dsn}.truth(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND "
            "application_name LIKE 'haul worker % job' AND state LIKE 'idle in transaction%')");
        in_handler = job.results();
        return completed{json{{"loaded", 2}}};
    });
    w.on("load within", [&](const job_context& job) {
        compat::exec(job.transaction(), "CREATE TABLE made (n integer)");
        in_transaction = job.results();
    });
    w.add({"exec", handler_spec::type::exec, {"sh", "-c", "cat; test -n \"$HAUL_WORKFLOW_ID\""}});
    w.add({"merge", handler_spec::type::sql, {"public.merge"}});
    w.on("alone", [](const job_context& job) {
        EXPECT_EQ(job.results(), json::object());
        EXPECT_FALSE(job.workflow_id());
        return completed::with_text(job.to_json());
    });
    w.start();

    workflow flow{"diamond"};
    flow.add("left", {"extract", R"({"from": "l"})"});
    flow.add("right", {"extract", R"({"from": "r"})"});
    flow.add("silent", {"nothing"});
    flow.add("load", {"load"}, after{"left"}, after{"right"}, after{"silent"});
    flow.add("within", {"load within"}, after{"left"}, after{"load"});
    flow.add("program", {"exec"}, after{"left"});
    flow.add("sql", {"merge"}, after{"load"});
    const auto id = enqueuer.enqueue(flow).id;
    const auto alone = enqueuer.enqueue("alone");
    await_state(id, "completed");
    await_end(alone);

    EXPECT_EQ(workflow_id, id);
    EXPECT_TRUE(was_idle);
    EXPECT_EQ(in_handler.at("left").at("from"), "l");
    EXPECT_EQ(in_handler.at("right").at("from"), "r");
    EXPECT_TRUE(in_handler.at("silent").is_null());
    EXPECT_EQ(in_handler.size(), 3u);
    EXPECT_EQ(in_transaction.at("load"), json::parse(R"({"loaded": 2})"));
    EXPECT_TRUE(sql.truth("SELECT to_regclass('made') IS NOT NULL"));
    const auto result = [&](const char* name) {
        return sql.text("SELECT result FROM haul.workflow_steps WHERE name = $1", {name});
    };
    EXPECT_NE(result("program").find(big), std::string::npos) << result("program");
    const auto input = json::parse(result("program"));
    EXPECT_EQ(input.at("workflow_id"), id);
    EXPECT_EQ(input.at("results").at("left").at("from"), "l");
    EXPECT_EQ(json::parse(result("sql")).at("results"), json::parse(R"({"load": {"loaded": 2}})"));
    const auto outside = json::parse(*ended(alone, "result"));
    EXPECT_TRUE(outside.at("workflow_id").is_null());
    EXPECT_FALSE(outside.contains("results"));
}

TEST_F(worker_workflows, a_connection_lost_while_results_are_read_is_not_the_jobs_failure) {
    std::atomic<int> runs{0};
    worker w{options()};
    w.on("first", [](const job_context&) { return completed{json(1)}; });
    w.on("second", [&](const job_context& job) {
        if (++runs == 1) {
            job.transaction();
            session{dsn}.exec("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE "
                              "application_name LIKE 'haul worker % job' AND datname = current_database()");
        }
        return completed{job.results()};
    });
    w.start();
    const auto ids = enqueuer.chain({{"first"}, {"second"}});
    await_end(ids[1]);
    EXPECT_EQ(ended(ids[1], "state || attempt || result"), "completed1{\"1\": 1}");
    EXPECT_EQ(runs, 2);
}

TEST_F(worker_workflows, results_are_read_although_the_connection_that_was_kept_is_lost) {
    auto how = options();
    how.max_threads = 1;
    worker w{how};
    w.on("first", [](const job_context&) { return completed{json(1)}; });
    w.on("second", [&](const job_context& job) {
        json read = job.results();
        session{dsn}.exec("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE "
                          "application_name LIKE 'haul worker % job' AND datname = current_database()");
        return completed{read};
    });
    w.on("third", [&](const job_context& job) { return completed{job.results()}; });
    w.start();
    const auto ids = enqueuer.chain({{"first"}, {"second"}, {"third"}});
    await_end(ids[2]);
    EXPECT_EQ(ended(ids[2], "state || attempt || claim || result"), "completed11{\"2\": {\"1\": 1}}");
}

TEST_F(worker_workflows, a_connection_lost_while_results_are_read_outside_of_a_transaction_costs_no_attempt) {
    std::atomic<int> runs{0};
    std::atomic<bool> locked{false};
    worker w{options()};
    w.on("first", [](const job_context&) { return completed{json(1)}; });
    w.on("second", [&](const job_context& job) {
        ++runs;
        wait_until([&] { return locked.load(); }, "the results are locked");
        return completed{job.results()};
    });
    w.start();
    const auto ids = enqueuer.chain({{"first"}, {"second"}});
    wait_until([&] { return runs == 1; }, "the second job runs");
    const std::string reader = "FROM pg_stat_activity WHERE application_name LIKE 'haul worker % job' AND "
                               "datname = current_database() AND wait_event_type = 'Lock'";
    session lock{dsn};
    lock.exec("BEGIN");
    lock.exec("LOCK TABLE haul.workflow_jobs IN ACCESS EXCLUSIVE MODE");
    locked = true;
    await("EXISTS (SELECT " + reader + ")");
    sql.exec("SELECT pg_terminate_backend(pid, 10000) " + reader);
    lock.exec("ROLLBACK");
    await_end(ids[1]);
    EXPECT_EQ(ended(ids[1], "state || attempt || result"), "completed1{\"1\": 1}");
    EXPECT_EQ(runs, 2);
}

TEST_F(worker_workflows, what_becomes_of_those_behind_a_failure_stands_on_each_edge) {
    worker w{options()};
    w.add({"noop", handler_spec::type::builtin, {"noop"}});
    std::atomic<bool> good{false};
    w.on("bad", [&](const job_context&) -> outcome {
        if (good)
            return completed{};
        return fail_for_good{"no luck"};
    });
    w.start();
    workflow flow;
    flow.add("bad", {"bad"});
    flow.add("cancelled", {"noop"}, after{"bad"});
    flow.add("runs", {"noop"}, after{"bad", if_failed::run});
    flow.add("waits", {"noop"}, after{"bad", if_failed::wait}, after{"runs"});
    flow.add("behind cancelled", {"noop"}, after{"cancelled"}, after{"runs"});
    flow.add("behind that", {"noop"}, after{"behind cancelled", if_failed::run});
    const auto id = enqueuer.enqueue(flow).id;
    await_state(id, "stuck");
    EXPECT_EQ(steps(id), (rows{{"bad", "failed"},
                               {"behind cancelled", "cancelled"},
                               {"behind that", "completed"},
                               {"cancelled", "cancelled"},
                               {"runs", "completed"},
                               {"waits", "waiting"}}));
    good = true;
    EXPECT_EQ(sql.number("SELECT haul.retry_workflow($1)", {std::to_string(id)}), 3);
    await_state(id, "completed");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'"), 6);
}

TEST_F(worker_workflows, that_is_cancelled_ends_when_what_runs_has_ended) {
    std::atomic<bool> runs{false};
    std::atomic<bool> go_on{false};
    worker w{options()};
    w.on("slow", [&](const job_context& job) -> outcome {
        runs = true;
        while (!go_on && job.wait_for(5ms)) {
        }
        return retry{"again"};
    });
    w.start();
    const auto ids = enqueuer.chain({{"slow"}, {"slow"}, {"slow"}});
    const auto workflow = sql.number("SELECT workflow_id FROM haul.jobs LIMIT 1");
    wait_until([&] { return runs.load(); }, "the first runs");
    EXPECT_EQ(sql.number("SELECT haul.cancel_workflow($1)", {std::to_string(workflow)}), 2);
    EXPECT_EQ(state(workflow), "cancelling");
    go_on = true;
    await_state(workflow, "cancelled");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'cancelled'"), 3);
}

TEST_F(worker_workflows, a_periodic_job_runs_until_its_handler_cancels_it) {
    std::mutex mutex;
    std::vector<int> attempts;
    int runs = 0;
    worker w{options()};
    w.on("tick", [&](const job_context& job) -> outcome {
        const std::lock_guard lock{mutex};
        attempts.push_back(job.attempt());
        switch (++runs) {
        case 1:
            return completed{json(runs)};
        case 2:
            return retry{"once more", 0ms};
        case 3:
            return completed{json(runs)};
        case 4:
            return discard{"not this time"};
        default:
            return cancel{"enough"};
        }
    });
    w.start();
    job_options periodic;
    periodic.every = 10ms;
    const auto id = enqueuer.enqueue("tick", {}, periodic);
    await("NOT EXISTS (SELECT FROM haul.jobs)");
    EXPECT_EQ(attempts, (std::vector<int>{1, 1, 2, 1, 1})) << "each run begins with the first attempt";
    EXPECT_EQ(
        sql.exec("SELECT state, attempt, result, last_error FROM haul.finished_jobs WHERE id = $1 ORDER BY "
                 "finished_at",
                 {std::to_string(id)}),
        (rows{{"completed", "1", "1", std::nullopt},
              {"completed", "2", "3", "once more"},
              {"discarded", "1", std::nullopt, "not this time"},
              {"cancelled", "1", std::nullopt, "enough"}}));
}

TEST_F(worker_workflows, a_job_of_a_schedule_knows_its_name) {
    std::atomic<int> named{0};
    worker w{options()};
    w.on("tick", [&](const job_context& job) {
        named +=
            job.cron_name() == "each second" && json::parse(job.to_json()).at("cron_name") == "each second";
    });
    w.start();
    sql.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('each second', '* * * * * *', 'tick')");
    wait_until([&] { return named > 0; }, "the schedule fires");
    sql.exec("DELETE FROM haul.cron");
    await("NOT EXISTS (SELECT FROM haul.jobs)");
}

} // namespace
} // namespace haul::test
