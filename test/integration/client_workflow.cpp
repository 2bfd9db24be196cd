#include "haul/client.hpp"
#include "haul/workflow.hpp"
#include "support/cluster.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul::test {
namespace {

using namespace std::chrono_literals;

class client_workflow : public testing::Test {
protected:
    static void SetUpTestSuite() { server = new cluster; }
    static void TearDownTestSuite() { delete server; }

    client_workflow() : dsn{server->create_database("workflow_" + std::to_string(++databases))} {}

    enqueued_workflow enqueue(const workflow& flow) {
        pqxx::work tx{*db};
        const auto made = haul::enqueue(tx, flow);
        tx.commit();
        return made;
    }

    template <typename Function>
    static std::string refusal(Function function) {
        try {
            function();
            return "none";
        } catch (const bad_job& e) {
            return e.sqlstate();
        }
    }
    std::string refusal_of(const workflow& flow) {
        return refusal([&] { enqueue(flow); });
    }

    rows steps(std::int64_t workflow) {
        return sql.exec(
            "SELECT name, state, array_to_string(after, ' ') FROM haul.workflow_steps WHERE workflow_id = $1 "
            "ORDER BY name",
            {std::to_string(workflow)});
    }

    inline static cluster* server = nullptr;
    inline static int databases = 0;
    std::string dsn;
    session sql{dsn};
    connection db{dsn};
};

TEST_F(client_workflow, appears_with_the_transaction_or_not_at_all) {
    workflow flow{"diamond"};
    flow.add("a", {"k", R"({"n": 1})"});
    flow.add("b", {"k"}, after{"a"});
    flow.add("c", {"k"}, after{"a", if_failed::run});
    flow.add("d", {"k"}, after{"b", if_failed::wait}, after{"c"});
    {
        pqxx::work tx{*db};
        haul::enqueue(tx, flow);
    }
    EXPECT_EQ(sql.number("SELECT (SELECT count(*) FROM haul.workflows) + (SELECT count(*) FROM haul.jobs)"),
              0);

    const auto made = enqueue(flow);
    EXPECT_EQ(steps(made.id), (rows{{"a", "ready", std::nullopt},
                                    {"b", "waiting", "a"},
                                    {"c", "waiting", "a"},
                                    {"d", "waiting", "b c"}}));
    EXPECT_EQ(
        sql.exec("SELECT name, if_failed FROM haul.workflow_jobs WHERE cardinality(next) > 0 ORDER BY name"),
        (rows{{"a", "{cancel,run}"}, {"b", "{wait}"}, {"c", "{cancel}"}}));
    std::map<std::string, std::int64_t> jobs;
    for (const auto& job : sql.exec("SELECT name, job_id FROM haul.workflow_jobs"))
        jobs.emplace(*job[0], std::stoll(*job[1]));
    EXPECT_EQ(made.jobs, jobs);
    EXPECT_EQ(sql.text("SELECT name FROM haul.workflow_status"), "diamond");
    EXPECT_EQ(sql.text("SELECT args FROM haul.jobs WHERE state = 'ready'"), "{\"n\": 1}");
}

TEST_F(client_workflow, has_jobs_with_every_option) {
    job_options o;
    o.queue = "q \"'\\";
    o.priority = 7;
    o.run_at = std::chrono::system_clock::time_point{1893456000123456us};
    o.max_attempts = 3;
    o.backoff = "constant(2)";
    o.timeout = 1500ms;
    o.on_timeout = timeout_action::discard;
    o.queue_timeout = 36h;
    o.on_interrupt = interrupt_action::fail;
    o.unique_key = "key";
    o.unique_until = unique_scope::started;
    o.concurrency_key = "account 5";
    o.concurrency_limit = 4;
    o.pin = "w1";
    o.pin_strict = true;
    o.avoid = {"w2", "a \"b\" \\ ,{}", "NULL"};
    o.reply_to = "me";
    o.keep = 0s;
    enqueue(workflow{}.add("a", {"k", R"({"n": 12345678901234567890.12345678901234567890})", o}));
    EXPECT_EQ(
        sql.exec(
            "SELECT queue, priority, run_at AT TIME ZONE 'UTC', max_attempts, backoff, timeout, on_timeout, "
            "on_interrupt, unique_key, unique_until, concurrency_key, concurrency_limit, pin, pin_strict, "
            "array_to_json(avoid), reply_to, keep, args FROM haul.jobs"),
        (rows{{"q \"'\\", "7", "2030-01-01 00:00:00.123456", "3", "constant(2)", "00:00:01.5", "discard",
               "fail", "key", "started", "account 5", "4", "w1", "t", R"(["w2","a \"b\" \\ ,{}","NULL"])",
               "me", "00:00:00", "{\"n\": 12345678901234567890.12345678901234567890}"}}));
}

TEST_F(client_workflow, waits_by_the_clock_of_the_server) {
    job_options later;
    later.wait = 1h;
    enqueue(workflow{}.add("a", {"k", {}, later}).add("b", {"k", {}, later}, after{"a"}));
    EXPECT_EQ(
        sql.number(
            "SELECT count(*) FROM haul.workflow_jobs AS m JOIN haul.workflows AS w ON w.id = m.workflow_id "
            "WHERE m.run_at = w.created_at + interval '1 h'"),
        2);
    EXPECT_EQ(
        sql.number(
            "SELECT count(*) FROM haul.jobs AS j JOIN haul.workflows AS w ON w.id = j.workflow_id WHERE "
            "j.run_at = w.created_at + interval '1 h'"),
        1);
}

TEST_F(client_workflow, is_refused_whole) {
    job_options periodic;
    periodic.every = 1s;
    EXPECT_EQ(refusal_of(workflow{}.add("a", {"k", {}, periodic})), "22023");
    EXPECT_EQ(refusal_of(workflow{}.add("a", {"k"}).add("a", {"k"})), "22023");
    EXPECT_EQ(refusal_of(workflow{}.add("a", {"k"}, after{"b"})), "22023");
    EXPECT_EQ(refusal_of(workflow{}.add("a", {"k"}, after{"b"}).add("b", {"k"}, after{"a"})), "22023");
    EXPECT_EQ(refusal_of(workflow{}.add("", {"k"})), "22023");
    EXPECT_EQ(refusal_of(workflow{}), "22023");
    EXPECT_EQ(refusal_of(workflow{std::string(256, 'x')}.add("a", {"k"})), "22023");
    EXPECT_EQ(refusal_of(workflow{}.add("a", {"k"}).add("b", {""}, after{"a"})), "23514");
    EXPECT_EQ(sql.number("SELECT (SELECT count(*) FROM haul.workflows) + (SELECT count(*) FROM haul.jobs)"),
              0);
}

TEST_F(client_workflow, returns_the_ids_of_its_jobs_by_their_names) {
    job_options later;
    later.wait = 1h;
    // Added the other way round than they run.
    const auto made = enqueue(workflow{}
                                  .add("last", {"third"}, "middle")
                                  .add("middle", {"second"}, "first")
                                  .add("first", {"first", {}, later}));
    EXPECT_EQ(made.jobs.size(), 3u);
    const auto kind = [&](const char* name) {
        return sql.text("SELECT kind FROM haul.jobs WHERE id = $1", {std::to_string(made.jobs.at(name))});
    };
    EXPECT_EQ(kind("first"), "first");
    EXPECT_EQ(kind("middle"), "second");
    EXPECT_EQ(kind("last"), "third");
}

TEST_F(client_workflow, may_be_enqueued_by_a_producer) {
    sql.exec("CREATE ROLE ann LOGIN; SELECT haul.grant_producer('ann')");
    {
        connection hers{dsn + " user=ann"};
        pqxx::work tx{*hers};
        const auto made = haul::enqueue(tx, workflow{}.add("a", {"k"}));
        tx.commit();
        EXPECT_EQ(steps(made.id).size(), 1u);
    }
    sql.exec("DELETE FROM haul.jobs; DROP OWNED BY ann; DROP ROLE ann");
}

TEST_F(client_workflow, chain_returns_the_jobs_in_their_order) {
    job_options later;
    later.wait = 1h;
    pqxx::work tx{*db};
    const auto ids = chain(tx, {{"first"}, {"second", {}, later}, {"third"}}, "three", if_failed::wait);
    EXPECT_EQ(refusal([&] { chain(tx, {}); }), "22023");
    tx.abort();
    pqxx::work again{*db};
    EXPECT_EQ(chain(again, {{"first"}, {"second", {}, later}, {"third"}}, "three", if_failed::wait).size(),
              ids.size());
    again.commit();
    EXPECT_EQ(
        sql.exec(
            "SELECT m.kind, m.if_failed, j.state, w.name FROM haul.workflow_jobs AS m JOIN haul.jobs AS j ON "
            "j.id = m.job_id JOIN haul.workflows AS w ON w.id = m.workflow_id ORDER BY m.job_id"),
        (rows{{"first", "{wait}", "ready", "three"},
              {"second", "{wait}", "waiting", "three"},
              {"third", "{}", "waiting", "three"}}));
}

TEST_F(client_workflow, of_a_client_is_a_transaction_of_its_own_in_its_namespace) {
    client_options options;
    options.name_space = "billing";
    client c{dsn, options};
    const auto made = c.enqueue(workflow{}.add("a", {"k"}).add("b", {"k"}, after{"a"}));
    EXPECT_EQ(steps(made.id).size(), 2u);
    EXPECT_EQ(c.chain({{"k"}, {"k"}}).size(), 2u);
    EXPECT_EQ(sql.text("SELECT string_agg(DISTINCT queue, ' ') FROM haul.jobs"), "billing.default");
    EXPECT_EQ(refusal([&] { c.enqueue(workflow{}.add("a", {"k"}, after{"a"})); }), "22023");
    EXPECT_EQ(c.chain({{"k"}}).size(), 1u) << "the client can go on";
}

} // namespace
} // namespace haul::test
