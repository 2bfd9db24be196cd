#include "haul/error.hpp"
#include "haul/workflow.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace haul {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

json only_job(const job_options& options, const job_args& args = {}) {
    return json::parse(workflow{}.add("a", {"k", args, options}).jobs()).at(0);
}

std::string refusal(const job_options& options, const job_args& args = {}) {
    try {
        only_job(options, args);
        return "none";
    } catch (const bad_job& e) {
        return e.sqlstate();
    }
}

TEST(client_workflow, says_of_each_job_what_it_comes_after) {
    workflow flow{"nightly"};
    flow.add("a", {"k"});
    flow.add("b", {"k"}, after{"a"});
    flow.add("c", {"k"}, after{"a", if_failed::run}, after{"b", if_failed::wait});
    flow.add("d", {"k"}, {{"c"}});
    flow.add("e", {"k"}, "c", std::string{"d"}, after{"a", if_failed::run});
    EXPECT_EQ(flow.name(), "nightly");
    EXPECT_EQ(flow.size(), 5u);
    EXPECT_EQ(json::parse(flow.jobs()), json::parse(R"([
        {"name": "a", "kind": "k", "args": {}},
        {"name": "b", "kind": "k", "args": {}, "after": [{"name": "a", "if_failed": "cancel"}]},
        {"name": "c", "kind": "k", "args": {}, "after": [{"name": "a", "if_failed": "run"},
                                                         {"name": "b", "if_failed": "wait"}]},
        {"name": "d", "kind": "k", "args": {}, "after": [{"name": "c", "if_failed": "cancel"}]},
        {"name": "e", "kind": "k", "args": {}, "after": [{"name": "c", "if_failed": "cancel"},
                                                         {"name": "d", "if_failed": "cancel"},
                                                         {"name": "a", "if_failed": "run"}]}])"));
    EXPECT_EQ(workflow{}.jobs(), "[]");
}

TEST(client_workflow, has_every_option_of_a_job) {
    job_options o;
    o.queue = "a \"b\" \\ ü\n";
    o.priority = 7;
    o.run_at = std::chrono::system_clock::time_point{1893456000123456us}; // 2030-01-01 00:00:00.123456
    o.max_attempts = 3;
    o.backoff = "constant(2)";
    o.timeout = 90s;
    o.on_timeout = timeout_action::discard;
    o.queue_timeout = 1us;
    o.expires_at = std::chrono::system_clock::time_point{-1us};
    o.on_interrupt = interrupt_action::fail;
    o.unique_key = "key";
    o.unique_until = unique_scope::started;
    o.concurrency_key = "account 5";
    o.concurrency_limit = 4;
    o.pin = "w1";
    o.pin_strict = true;
    o.avoid = {"w2", "{\"}"};
    o.every = 1s; // which the server refuses
    o.reply_to = "me";
    o.keep = 0s;
    EXPECT_EQ(only_job(o), json::parse(R"json({
        "name": "a", "kind": "k", "args": {}, "queue": "a \"b\" \\ ü\n", "priority": 7,
        "run_at": "2030-01-01 00:00:00.123456+00", "max_attempts": 3, "backoff": "constant(2)",
        "timeout": "90000000 microseconds", "on_timeout": "discard", "queue_timeout": "1 microseconds",
        "expires_at": "1969-12-31 23:59:59.999999+00", "on_interrupt": "fail", "unique_key": "key",
        "unique_until": "started", "concurrency_key": "account 5", "concurrency_limit": 4, "pin": "w1",
        "pin_strict": true, "avoid": ["w2", "{\"}"], "every": "1000000 microseconds", "reply_to": "me",
        "keep": "0 microseconds"})json"));

    job_options later;
    later.wait = 2min;
    EXPECT_EQ(only_job(later).at("wait"), "120000000 microseconds");
}

TEST(client_workflow, keeps_the_digits_of_numbers_in_arguments) {
    const std::string args = R"({"n": 12345678901234567890.123456789012345678901234567890})";
    EXPECT_NE(
        workflow{}.add("a", {"k", args}).jobs().find("12345678901234567890.123456789012345678901234567890"),
        std::string::npos);
}

TEST(client_workflow, takes_nothing_but_one_value_for_arguments) {
    for (const char* args :
         {"", "{", "{}, \"every\": \"1 s\"", "{}}, {\"kind\": \"other\"", "{} {}", "{'a': 1}", "nothing"})
        EXPECT_EQ(refusal({}, args), "22P02") << args;
    EXPECT_EQ(refusal({}, std::string{"{}\0", 3}), "22021");
    for (const char* args : {"null", " null\n"})
        EXPECT_EQ(refusal({}, args), "23514") << args;
    EXPECT_EQ(refusal({}, "{\"n\": 1e400}"), "22003");
    EXPECT_EQ(refusal({}, "{\"n\": [null, {}]}"), "none");
}

TEST(client_workflow, refuses_what_the_server_would_not_see) {
    job_options both;
    both.run_at = std::chrono::system_clock::now();
    both.wait = 1s;
    EXPECT_EQ(refusal(both), "22023");
    job_options existing;
    existing.unique_key = "key";
    existing.on_duplicate = duplicate_action::return_existing;
    EXPECT_EQ(refusal(existing), "22023");
    job_options latin1;
    latin1.queue = "\xff";
    EXPECT_EQ(refusal(latin1), "22021");
    EXPECT_THROW(workflow{}.add("\xff", {"k"}).jobs(), bad_job);
    EXPECT_THROW(workflow{}.add("b", {"k"}, after{"\xff"}).jobs(), bad_job);
}

TEST(client_workflow, can_be_put_into_a_namespace) {
    workflow flow;
    flow.add("a", {"k"});
    flow.into_namespace("billing");
    EXPECT_EQ(json::parse(flow.jobs()).at(0).at("queue"), "billing.default");
}

} // namespace
} // namespace haul
