#include "haul/pqxx_compat.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class worker_outcomes : public worker_fixture {
protected:
    /// Runs all jobs that are due with the handler for kind "k".
    template <typename Function>
    void run(Function function) {
        auto how = options();
        how.exit_when_empty = true;
        worker w{how};
        w.on("k", std::move(function));
        w.start();
        w.join();
    }
    void run(const handler_spec& spec) {
        auto how = options();
        how.exit_when_empty = true;
        worker w{how};
        w.add(spec);
        w.start();
        w.join();
    }
};

TEST_F(worker_outcomes, completed_with_and_without_a_result) {
    const auto plain = enqueue("k"), rich = enqueue("k", "args", R"('{"n": 1}')");
    run([](const job_context& job) -> outcome {
        return job.args().empty() ? completed{} : completed{job.args()};
    });
    EXPECT_EQ(ended(plain, "state"), "completed");
    EXPECT_EQ(ended(plain, "result"), std::nullopt);
    EXPECT_EQ(ended(rich, "result"), R"({"n": 1})");
}

TEST_F(worker_outcomes, a_failed_attempt_is_tried_again) {
    const auto id = enqueue("k", "backoff", "'constant(0)'");
    run([](const job_context& job) {
        if (!job.retrying())
            throw std::runtime_error{"not at the first attempt\xFF"};
    });
    EXPECT_EQ(ended(id, "state"), "completed");
    EXPECT_EQ(ended(id, "attempt"), "2");
    EXPECT_EQ(sql.text("SELECT error FROM haul.job_errors"), "not at the first attempt\xEF\xBF\xBD");
}

TEST_F(worker_outcomes, retry_with_a_delay_and_another_queue) {
    const auto id = enqueue("k");
    run([](const job_context&) -> outcome { return retry{"later, elsewhere", 1h, "other"}; });
    EXPECT_EQ(live(id, "queue"), "other");
    EXPECT_EQ(live(id, "run_at > now() + interval '59 minutes'"), "true");
    EXPECT_EQ(live(id, "last_error"), "later, elsewhere");
}

TEST_F(worker_outcomes, fail_for_good_discard_and_cancel_end_the_job) {
    const auto fails = enqueue("k", "args", R"('{"how": "fail"}')"),
               discards = enqueue("k", "args", R"('{"how": "discard"}')"),
               cancels = enqueue("k", "args", R"('{"how": "cancel"}')");
    run([](const job_context& job) -> outcome {
        const auto how = job.args().at("how").get<std::string>();
        if (how == "fail")
            return fail_for_good{"hopeless"};
        if (how == "discard")
            throw discard{"pointless"};
        return cancel{"called off"};
    });
    EXPECT_EQ(ended(fails, "state || ': ' || last_error"), "failed: hopeless");
    EXPECT_EQ(ended(discards, "state || ': ' || last_error"), "discarded: pointless");
    EXPECT_EQ(ended(cancels, "state || ': ' || last_error"), "cancelled: called off");
}

TEST_F(worker_outcomes, snooze_does_not_count_as_an_attempt) {
    const auto id = enqueue("k");
    run([](const job_context&) -> outcome { return snooze{1h}; });
    EXPECT_EQ(live(id, "attempt"), "0");
    EXPECT_EQ(live(id, "state"), "ready");
    EXPECT_EQ(live(id, "run_at > now() + interval '59 minutes'"), "true");
}

TEST_F(worker_outcomes, what_the_server_refuses_concerns_that_job_alone) {
    sql.exec(
        "INSERT INTO haul.jobs (kind, args, backoff) SELECT 'k', jsonb_build_object('i', i), 'constant(3600)'"
        " FROM generate_series(1, 100) AS i");
    run([](const job_context& job) -> outcome {
        switch (job.args().at("i").get<int>()) {
        case 17:
            return completed::with_text("not json");
        case 18:
            return completed::with_text("\"\\u0000\"");
        case 19:
            return retry{"e", 1s, std::string(64, 'q')};
        case 20:
            return snooze{-5s};
        default:
            return completed{nlohmann::json(1)};
        }
    });
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'"), 98)
        << "a success stays one, whatever its result";
    EXPECT_EQ(
        sql.text(
            "SELECT string_agg(result::text, ' ' ORDER BY id) FROM haul.finished_jobs WHERE result <> '1'"),
        "\"the server refused the text of this outcome: invalid input syntax for type json\" \"?\"");
    EXPECT_EQ(
        sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND last_error LIKE '%refused%'"),
        2);
}

TEST_F(worker_outcomes, what_a_trigger_of_the_user_refuses_fails_that_job_alone) {
    sql.exec(
        "CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE 'job % stays', OLD.args->>'i'; END $$;"
        "CREATE TRIGGER object BEFORE DELETE ON haul.jobs FOR EACH ROW"
        " WHEN (OLD.args = '{\"i\": 17}') EXECUTE FUNCTION object();"
        "INSERT INTO haul.jobs (kind, args, backoff) SELECT 'k', jsonb_build_object('i', i), 'constant(3600)'"
        " FROM generate_series(1, 100) AS i");
    run([](const job_context&) {});
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'"), 99);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE last_error LIKE '%refused%job 17 stays%'"), 1);
    sql.exec("DROP TRIGGER object ON haul.jobs; DROP FUNCTION object()");
}

TEST_F(worker_outcomes, only_registered_kinds_run) {
    const auto other = enqueue("other");
    run([](const job_context&) {});
    EXPECT_EQ(live(other, "state || attempt"), "ready0");
}

TEST_F(worker_outcomes, a_timeout_is_retried_or_discarded) {
    const auto retried = enqueue("k", "timeout, backoff", "'0.1 s', 'constant(3600)'");
    const auto discarded = enqueue("k", "timeout, on_timeout", "'0.1 s', 'discard'");
    run(handler_spec{"k", handler_spec::type::exec, {"sleep", "600"}});
    EXPECT_EQ(live(retried, "last_error"), "timed out after 0.1 s");
    EXPECT_EQ(live(retried, "attempt"), "1");
    EXPECT_EQ(ended(discarded, "state || ': ' || last_error"), "discarded: timed out after 0.1 s");
}

TEST_F(worker_outcomes, progress_is_stored_while_the_job_runs) {
    const auto id = enqueue("k");
    worker w{options()};
    std::atomic<bool> go_on{false};
    w.on("k", [&](const job_context& job) {
        job.progress({{"percent", 50}});
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    await("(SELECT progress FROM haul.jobs WHERE id = " + std::to_string(id) + ") = '{\"percent\": 50}'");
    go_on = true;
    await_end(id);
    w.stop();
    w.join();
}

TEST_F(worker_outcomes, effects_and_completion_are_one_transaction) {
    sql.exec("CREATE TABLE effects (job bigint, attempt integer)");
    sql.exec("INSERT INTO haul.jobs (kind, backoff) SELECT 'k', 'constant(0)' FROM generate_series(1, 50)");
    run([](const job_context& job) -> outcome {
        compat::exec(job.transaction(), "INSERT INTO effects VALUES ($1, $2)", job.id(), job.attempt());
        if (!job.retrying() && job.id() % 3 == 0)
            throw std::runtime_error{"after the effect"};
        if (!job.retrying() && job.id() % 3 == 1)
            return retry{"returned after the effect"};
        return completed{nlohmann::json(job.attempt())};
    });
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'"), 50);
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 50);
    EXPECT_EQ(sql.number("SELECT count(DISTINCT job) FROM effects"), 50);
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects JOIN haul.finished_jobs AS f ON f.id = job"
                         " WHERE result = to_jsonb(effects.attempt)"),
              50);
}

TEST_F(worker_outcomes, a_transaction_of_a_job_that_was_lost_leaves_no_effect) {
    sql.exec("CREATE TABLE effects (job bigint)");
    const auto id = enqueue("k");
    auto how = options();
    worker w{how};
    std::atomic<int> runs{0};
    w.on("k", [&](const job_context& job) {
        compat::exec(job.transaction(), "INSERT INTO effects VALUES ($1)", job.id());
        if (++runs == 1) { // somebody gives the worker up for dead; the job runs again
            session other{dsn};
            other.exec("DELETE FROM haul.workers");
        }
    });
    w.start();
    await_end(id);
    EXPECT_GE(runs, 2);
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1);
    w.stop();
    w.join();
}

TEST_F(worker_outcomes, an_error_of_the_handlers_sql_is_its_failure) {
    const auto id = enqueue("k", "backoff", "'constant(3600)'");
    run([](const job_context& job) { compat::exec(job.transaction(), "SELECT 1/0"); });
    EXPECT_EQ(live(id, "last_error"), "division by zero");
    EXPECT_EQ(live(id, "attempt"), "1");
}

TEST_F(worker_outcomes, sql_handlers_run_and_complete_in_one_transaction) {
    sql.exec(R"(CREATE SCHEMA "My App")");
    sql.exec(R"(CREATE TABLE effects (x int UNIQUE DEFERRABLE INITIALLY DEFERRED))");
    sql.exec(R"(CREATE FUNCTION "My App"."do it"(args jsonb) RETURNS jsonb LANGUAGE sql AS
             $$ INSERT INTO effects VALUES ((args->>'x')::int); SELECT jsonb_build_object('did', args->'x') $$)");
    sql.exec(R"(CREATE FUNCTION public.nothing(args jsonb) RETURNS void LANGUAGE sql AS 'SELECT 1')");
    const auto first = enqueue("k", "args", R"('{"x": 1}')");
    run(handler_spec{"k", handler_spec::type::sql, {"My App.do it"}});
    EXPECT_EQ(ended(first, "result"), R"({"did": 1})");
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1);

    const auto second = enqueue("k", "args, backoff", R"('{"x": 1}', 'constant(3600)')");
    run(handler_spec{"k", handler_spec::type::sql, {"My App.do it"}});
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1)
        << "the commit failed, and nothing is left of it";
    EXPECT_EQ(live(second, "state"), "ready");
    EXPECT_NE(live(second, "last_error")->find("duplicate key"), std::string::npos);
    sql.exec("DELETE FROM haul.jobs");

    const auto third = enqueue("k");
    run(handler_spec{"k", handler_spec::type::sql, {"public.nothing"}});
    EXPECT_EQ(ended(third, "state"), "completed");
    EXPECT_EQ(ended(third, "result"), std::nullopt);

    const auto fourth = enqueue("k", "backoff", "'constant(3600)'");
    run(handler_spec{"k", handler_spec::type::sql, {"public.missing"}});
    EXPECT_EQ(live(fourth, "last_error"),
              "there is no function public.missing(jsonb) or public.missing(jsonb, jsonb)");
}

TEST_F(worker_outcomes, sql_handlers_are_looked_up_again_when_they_have_changed) {
    sql.exec("CREATE SCHEMA app; CREATE FUNCTION app.one(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT "
             "to_jsonb(1)'");
    worker w{options()};
    w.add({"k", handler_spec::type::sql, {"app.one"}});
    w.start();
    const auto before = enqueue("k");
    await_end(before);
    sql.exec("DROP FUNCTION app.one(jsonb); CREATE FUNCTION app.one(args jsonb, job jsonb) RETURNS jsonb "
             "LANGUAGE sql AS $$SELECT job -> 'id'$$");
    const auto after = enqueue("k", "backoff", "'constant(0)'");
    await_end(after);
    EXPECT_EQ(ended(before, "result"), "1");
    EXPECT_EQ(ended(after, "result"), std::to_string(after));
    EXPECT_EQ(ended(after, "attempt"), "2");
}

TEST_F(worker_outcomes, sql_handlers_need_nothing_of_the_search_path) {
    sql.exec("CREATE SCHEMA app; CREATE DOMAIN app.jsonb AS integer; CREATE DOMAIN app.text AS integer; "
             "CREATE FUNCTION app.one(args pg_catalog.jsonb) RETURNS pg_catalog.jsonb LANGUAGE sql AS "
             "'SELECT args'");
    sql.exec("ALTER DATABASE " + sql.text("SELECT current_database()") +
             " SET search_path = app, pg_catalog");
    const auto id = enqueue("k", "args, max_attempts", R"('{"n": 1}', 1)");
    run(handler_spec{"k", handler_spec::type::sql, {"app.one"}});
    EXPECT_EQ(ended(id, "coalesce(last_error, result::text)"), R"({"n": 1})");
}

TEST_F(worker_outcomes, args_of_1_mb_reach_the_handler) {
    const auto id = enqueue("k", "args", "jsonb_build_object('s', repeat('x', 1000000))");
    run([](const job_context& job) -> outcome {
        return completed{nlohmann::json(job.args().at("s").get<std::string>().size())};
    });
    EXPECT_EQ(ended(id, "result"), "1000000");
}

} // namespace
} // namespace haul::test
