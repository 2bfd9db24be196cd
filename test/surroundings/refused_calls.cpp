// What a worker makes of a server that refuses its calls.
#include "support/pooler.hpp"
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class refused_calls : public worker_fixture {
protected:
    refused_calls() {
        if (!sql.truth("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_worker')"))
            sql.exec("CREATE ROLE app_worker LOGIN");
        sql.exec("SELECT haul.grant_worker('app_worker')");
        sql.exec("GRANT CREATE ON SCHEMA public TO app_worker");
    }
    ~refused_calls() override { sql.exec("ALTER ROLE app_worker RESET ALL"); }

    worker_options as_worker(wait_mode wait = wait_mode::listen) const {
        auto made = options();
        made.dsn = role_dsn();
        made.wait = wait;
        made.heartbeat_interval = 200ms;
        made.refusal_timeout = 1s;
        return made;
    }
    std::string database() const { return "worker_" + std::to_string(databases); }
    std::string role_dsn() const {
        auto changed = dsn;
        changed.replace(changed.find("user=postgres"), 13, "user=app_worker");
        return changed;
    }
    /// Forbids a function to the role, or allows it again, whatever its arguments.
    void revoke(const std::string& function, bool again = false) {
        for (const auto& found : sql.exec("SELECT oid::regprocedure::text FROM pg_proc"
                                          " WHERE pronamespace = 'haul'::regnamespace AND proname = $1",
                                          {function}))
            sql.exec((again ? "GRANT EXECUTE ON ROUTINE " : "REVOKE EXECUTE ON ROUTINE ") + *found[0] +
                     (again ? " TO " : " FROM ") + "app_worker");
    }
    /// A slow trigger on each job that ends.
    void slow_ends(const std::string& seconds, const std::string& when = "true") {
        sql.exec("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(" +
                 seconds +
                 "); RETURN OLD; END $$; GRANT EXECUTE ON FUNCTION slow() TO app_worker;"
                 "CREATE TRIGGER slow BEFORE DELETE ON haul.jobs FOR EACH ROW WHEN (" +
                 when + ") EXECUTE FUNCTION slow()");
    }
    std::string yaml(const std::string& more = "") const {
        return "haul:\n  heartbeat_interval: 0.2\n  refusal_timeout: 1\n" + more +
               "  handlers:\n    k: {builtin: noop}\n    nap: {builtin: sleep}\n";
    }
    std::int64_t finished(const std::string& state = "completed") {
        return sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = '" + state + "'");
    }
};

TEST_F(refused_calls, a_limit_of_time_on_the_role_is_not_meant_for_the_queues_own_calls) {
    sql.exec("ALTER ROLE app_worker SET statement_timeout = '200ms'; ALTER ROLE app_worker SET lock_timeout "
             "= '100ms'");
    slow_ends("0.5");
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 4)");
    auto how = as_worker();
    how.exit_when_empty = true;
    worker w{how};
    w.on("k", [](const job_context&) {});
    w.start();
    w.join();
    EXPECT_EQ(finished(), 4);
    EXPECT_EQ(sql.number("SELECT max(attempt) FROM haul.finished_jobs"), 1);
}

// Through a pooler the limits stay: the session is not the worker's to change.
TEST_F(refused_calls, a_batch_that_takes_too_long_is_halved_until_it_goes_through) {
    pooler between{*server};
    sql.exec("ALTER DATABASE " + database() + " SET statement_timeout = '300ms'");
    slow_ends("0.004");
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 400)");
    worker_process program{between.dsn(database()), yaml("  wait: poll\n"), {"--exit-when-empty"}};
    EXPECT_EQ(program->wait(60s), 0) << program->errors();
    EXPECT_EQ(finished(), 400);
    EXPECT_EQ(sql.number("SELECT max(attempt) FROM haul.finished_jobs"), 1);
}

TEST_F(refused_calls, one_job_whose_end_takes_too_long_does_not_keep_the_others) {
    pooler between{*server};
    sql.exec("ALTER DATABASE " + database() + " SET statement_timeout = '300ms'");
    slow_ends("10", "OLD.args = '{\"slow\": true}'");
    const auto slow = enqueue("k", "args, backoff", "'{\"slow\": true}', 'constant(3600)'");
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 99)");
    worker_process program{between.dsn(database()), yaml("  wait: poll\n  polling_interval: 0.1\n")};
    await("(SELECT count(*) FROM haul.finished_jobs) = 99");
    EXPECT_EQ(live(slow, "state"), "running");
    while (live(slow, "state") == "running") // others go on: then it must be this job's own fault
        await_end(enqueue("k"));
    EXPECT_NE(live(slow, "last_error")->find("statement timeout"), std::string::npos);
    EXPECT_NE(program->errors().find("event=refused"), std::string::npos) << program->errors();
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

TEST_F(refused_calls, a_grant_that_is_missing_for_a_while_costs_nothing) {
    auto how = as_worker();
    how.refusal_timeout = 1min;
    worker w{how};
    w.on("k", [](const job_context& job) -> outcome {
        return job.args().contains("fail") ? outcome{fail_for_good{"as told"}} : outcome{completed{}};
    });
    w.start();
    await_end(enqueue("k"));
    for (const char* function : {"complete", "checkout", "heartbeat", "next_due"}) {
        revoke(function);
        const auto other = enqueue("k", "args", R"('{"fail": true}')");
        const auto id = enqueue("k");
        if (function == std::string{"complete"})
            await_end(other); // another function is not affected
        const auto marked = sql.text("SELECT clock_timestamp()::text");
        await("clock_timestamp() > '" + marked + "'::timestamptz + interval '700 ms'");
        revoke(function, true);
        await_end(other);
        await_end(id);
        EXPECT_EQ(ended(id, "state || attempt"), "completed1") << function;
        EXPECT_EQ(ended(other, "state || attempt"), "failed1") << function;
    }
    EXPECT_EQ(sql.number("SELECT max(id) FROM haul.workers"), sql.number("SELECT min(id) FROM haul.workers"));
    w.stop();
    w.join();
}

struct revoked {
    const char* function;
    const char* wait;
};

class revoked_function : public refused_calls, public testing::WithParamInterface<revoked> {};

TEST_P(revoked_function, ends_the_worker_which_says_why_and_gives_its_work_back) {
    const auto [function, wait] = GetParam();
    worker_process program{role_dsn(), yaml("  wait: " + std::string{wait} + "\n")};
    await_end(enqueue("k"));
    revoke(function);
    const auto id = enqueue("k");
    EXPECT_EQ(program->wait(60s), 1) << program->errors();
    const auto log = program->errors();
    EXPECT_NE(log.find("event=refused"), std::string::npos) << log;
    EXPECT_NE(log.find("event=hopeless sqlstate=42501"), std::string::npos) << log;
    EXPECT_NE(log.find("permission denied for "), std::string::npos) << log;
    EXPECT_NE(log.find(function), std::string::npos) << log;
    EXPECT_NE(log.find("haul.grant_worker"), std::string::npos) << log;
    EXPECT_EQ(log.find("event=connection_lost"), std::string::npos) << log;
    await("NOT EXISTS (SELECT FROM haul.workers)");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 0);
    revoke(function, true);
    worker_process other{role_dsn(), yaml(), {"--exit-when-empty"}};
    EXPECT_EQ(other->wait(60s), 0) << other->errors();
    EXPECT_EQ(ended(id, "state"), "completed");
}

INSTANTIATE_TEST_SUITE_P(each, revoked_function,
                         testing::Values(revoked{"complete", "listen"}, revoked{"checkout", "listen"},
                                         revoked{"heartbeat", "listen"}, revoked{"checkout_wait", "call"},
                                         revoked{"heartbeat", "call"}),
                         [](const auto& one) {
                             return std::string{one.param.function} + "_" + one.param.wait;
                         });

TEST_F(refused_calls, nothing_depends_on_progress_and_maintenance) {
    revoke("progress");
    revoke("maintain");
    worker w{as_worker()};
    w.on("k", [](const job_context& job) { job.progress({{"percent", 50}}); });
    w.start();
    const auto marked = sql.text("SELECT clock_timestamp()::text");
    do
        await_end(enqueue("k"));
    while (!sql.truth("SELECT clock_timestamp() > $1::timestamptz + interval '2 s'", {marked}));
    w.stop();
    w.join();
    EXPECT_EQ(finished("failed"), 0);
}

TEST_F(refused_calls, term_ends_a_worker_whose_reports_are_refused) {
    worker_process program{role_dsn(), "haul:\n  handlers:\n    k: {builtin: noop}\n"};
    revoke("complete");
    const auto id = enqueue("k");
    wait_until([&] { return program->errors().find("event=refused") != std::string::npos; }, "it is refused");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(25s), 1) << program->errors();
    EXPECT_NE(program->errors().find("will run again"), std::string::npos) << program->errors();
    EXPECT_EQ(live(id, "state"), "ready");
}

TEST_F(refused_calls, a_missing_grant_at_the_start_is_named) {
    revoke("register_worker");
    worker_process program{role_dsn(), yaml()};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_NE(program->errors().find("haul.grant_worker"), std::string::npos) << program->errors();
}

TEST_F(refused_calls, in_a_handlers_transaction_they_are_not_the_jobs_failure) {
    sql.exec("CREATE SEQUENCE ends; CREATE TABLE effects (x int);"
             "CREATE FUNCTION app(args jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO effects VALUES (1)';"
             "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE n bigint := "
             "nextval('ends'); BEGIN"
             " IF n <= 3 THEN RAISE 'not now' USING ERRCODE = (ARRAY['53100', '55P03', '40001'])[n]; END IF;"
             " RETURN OLD; END $$;"
             "CREATE TRIGGER refuse BEFORE DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION refuse()");
    const auto id = enqueue("k", "max_attempts", "1");
    worker w{options()};
    w.add({"k", handler_spec::type::sql, {"public.app"}});
    w.start();
    await_end(id);
    w.stop();
    w.join();
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 1);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.job_errors"), 0);
}

TEST_F(refused_calls, a_missing_grant_is_not_the_failure_of_a_handler_with_a_transaction) {
    sql.exec("CREATE FUNCTION app(args jsonb) RETURNS void LANGUAGE sql AS 'SELECT'");
    worker_process program{role_dsn(),
                           "haul:\n  refusal_timeout: 1\n  handlers:\n    k: {sql: public.app}\n"};
    await_end(enqueue("k"));
    revoke("complete");
    const auto id = enqueue("k", "max_attempts", "1");
    EXPECT_EQ(program->wait(60s), 1) << program->errors();
    EXPECT_EQ(live(id, "state || attempt"), "ready0");
}

// Failover tools and full disks make a server read-only.
TEST_F(refused_calls, a_server_that_is_read_only_for_a_while_costs_nothing) {
    auto how = options();
    how.heartbeat_interval = 200ms;
    worker w{how};
    std::atomic<bool> go_on{false};
    w.on("k", [&](const job_context& job) {
        while (!go_on && job.wait_for(5ms)) {
        }
    });
    w.start();
    const auto id = enqueue("k");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 1");
    server->set("default_transaction_read_only", "on");
    go_on = true;
    const auto marked = sql.text("SELECT clock_timestamp()::text");
    await("clock_timestamp() > '" + marked + "'::timestamptz + interval '2 s'");
    sql.exec("SET default_transaction_read_only = off");
    EXPECT_EQ(live(id, "state || attempt"), "running1");
    server->set("default_transaction_read_only", "off");
    await_end(id);
    EXPECT_EQ(ended(id, "state || attempt"), "completed1");
    await_end(enqueue("k"));
    w.stop();
    w.join();
}

TEST_F(refused_calls, a_read_only_server_is_named_at_the_start) {
    sql.exec("ALTER DATABASE " + database() + " SET default_transaction_read_only = on");
    worker_process program{dsn, yaml()};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_NE(program->errors().find("target_session_attrs=read-write"), std::string::npos)
        << program->errors();
}

TEST_F(refused_calls, term_ends_a_worker_with_unreported_jobs_while_the_server_is_away) {
    worker_process program{dsn, yaml()};
    const auto id = enqueue("nap", "args", R"('{"seconds": 1}')");
    await("(SELECT count(*) FROM haul.jobs WHERE state = 'running') = 1");
    server->stop("fast");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(25s), 1) << program->errors();
    EXPECT_NE(program->errors().find("unreported=1"), std::string::npos) << program->errors();
    EXPECT_NE(program->errors().find("will run again"), std::string::npos) << program->errors();
    server->start();
    sql = session{dsn};
    EXPECT_EQ(live(id, "state"), "running") << "until its worker is taken for dead";
}

} // namespace
} // namespace haul::test
