// What handlers do in the database, and what becomes of it when their job is to stop.
#include "haul/pqxx_compat.hpp"
#include "support/pooler.hpp"
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class sql_handlers : public worker_fixture {
protected:
    sql_handlers() {
        sql.exec("CREATE TABLE effects (x text);"
                 "CREATE FUNCTION nap(args jsonb) RETURNS void LANGUAGE sql AS"
                 " 'INSERT INTO effects VALUES (''nap''); SELECT pg_sleep((args->>''seconds'')::float)'");
    }
    const std::string yaml = "haul:\n  max_threads: 1\n  handlers:\n    k: {sql: public.nap}\n";
    const std::string naps =
        "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND query LIKE '%public.nap%' AND pid <> pg_backend_pid())";
    std::string database() const { return "worker_" + std::to_string(databases); }

    std::int64_t nap(const std::string& seconds, const std::string& columns = "",
                     const std::string& values = "") {
        return enqueue("k", "args" + columns, "'{\"seconds\": " + seconds + "}'" + values);
    }
};

TEST_F(sql_handlers, a_timeout_cancels_the_statement_in_the_server) {
    pooler between{*server};
    for (const auto& [through, wait] :
         {std::pair{dsn, "listen"}, std::pair{between.dsn(database()), "poll"}}) {
        worker_process program{through, yaml, {"--wait", wait, "--poll-interval", "0.05"}};
        const auto id = nap("600", ", timeout, on_timeout", ", '0.5 s', 'discard'");
        await_end(id);
        EXPECT_EQ(ended(id, "state || ': ' || last_error"), "discarded: timed out after 0.5 s");
        EXPECT_EQ(sql.number("SELECT " + naps), 0) << "it has ended there, too";
        const auto next = nap("0", ", timeout", ", '10 s'");
        await_end(next);
        EXPECT_EQ(ended(next, "state || attempt"), "completed1") << "nothing of it meets the next job";
        program->signal(SIGTERM);
        EXPECT_EQ(program->wait(), 0) << program->errors();
    }
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 2);
}

TEST_F(sql_handlers, a_timeout_cancels_what_a_handler_in_cpp_does_there) {
    worker w{options()};
    w.on("k", [](const job_context& job) {
        compat::exec(job.transaction(), "SELECT pg_sleep(600) /* public.nap */");
    });
    w.start();
    const auto id = nap("0", ", timeout, backoff", ", '0.3 s', 'constant(3600)'");
    await("(SELECT last_error FROM haul.jobs WHERE id = " + std::to_string(id) +
          ") = 'timed out after 0.3 s'");
    EXPECT_EQ(sql.number("SELECT " + naps), 0);
    w.stop();
    w.join();
}

TEST_F(sql_handlers, a_second_signal_cancels_the_statement_in_the_server) {
    worker_process program{dsn, yaml};
    const auto id = nap("600");
    await(naps + " = 1");
    program->signal(SIGTERM);
    await("(SELECT status FROM haul.workers) = 'draining'");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(15s), 128 + SIGTERM) << program->errors();
    EXPECT_EQ(sql.number("SELECT " + naps), 0);
    EXPECT_EQ(live(id, "state || interruptions"), "ready1");
    EXPECT_EQ(sql.number("SELECT count(*) FROM effects"), 0);
}

TEST_F(sql_handlers, a_job_that_is_not_the_workers_any_more_is_cancelled_in_the_server) {
    auto how = options();
    how.heartbeat_interval = 100ms;
    worker w{how};
    w.add({"k", handler_spec::type::sql, {"public.nap"}});
    w.start();
    const auto id = nap("600", ", pin, pin_strict", ", 'w', true");
    await(naps + " = 1");
    sql.exec("UPDATE haul.jobs SET args = '{\"seconds\": 0}'; DELETE FROM haul.workers");
    await_end(id);
    EXPECT_EQ(ended(id, "state || attempt"), "completed2");
    EXPECT_EQ(sql.number("SELECT " + naps), 0);
    w.stop();
    w.join();
}

TEST_F(sql_handlers, nothing_of_a_session_reaches_the_next_job) {
    sql.exec(
        "CREATE FUNCTION leave_traces(args jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
        " OR to_regclass('pg_temp.mine') IS NOT NULL OR current_setting('search_path') LIKE '%elsewhere%'"
        " THEN RAISE 'traces of another job'; END IF;"
        " CREATE TEMP TABLE mine (); PERFORM pg_advisory_lock(7), set_config('search_path', 'elsewhere', "
        "false);"
        " END $$");
    auto how = options();
    how.max_threads = 1;
    worker w{how};
    w.add({"k", handler_spec::type::sql, {"public.leave_traces"}});
    w.start();
    for (int i = 0; i < 3; ++i) {
        const auto id = enqueue("k", "max_attempts", "1");
        await_end(id);
        EXPECT_EQ(ended(id, "coalesce(last_error, state)"), "completed");
    }
    w.stop();
    w.join();
}

TEST_F(sql_handlers, the_limits_of_time_are_those_of_the_handlers_own_statements) {
    sql.exec("ALTER DATABASE " + database() +
             " SET statement_timeout = '400ms';"
             "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.6); "
             "RETURN OLD; END $$;"
             "CREATE TRIGGER slow BEFORE DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION slow()");
    worker w{options()};
    w.add({"k", handler_spec::type::sql, {"public.nap"}});
    w.start();
    const auto quick = nap("0"), slow = nap("600", ", backoff", ", 'constant(3600)'");
    await_end(quick);
    EXPECT_EQ(ended(quick, "state || attempt"), "completed1") << "the completion takes longer than that";
    await("(SELECT last_error FROM haul.jobs WHERE id = " + std::to_string(slow) +
          ") LIKE '%statement timeout%'");
    w.stop();
    w.join();
}

TEST_F(sql_handlers, a_transaction_that_the_handler_broke_is_its_failure) {
    worker w{options()};
    w.on("k", [](const job_context& job) {
        try {
            compat::exec(job.transaction(), "SELECT 1/0");
        } catch (const std::exception&) {
        }
    });
    w.start();
    const auto id = enqueue("k", "max_attempts", "1");
    await_end(id);
    EXPECT_EQ(ended(id, "state"), "failed");
    w.stop();
    w.join();
}

TEST_F(sql_handlers, results_are_quoted) {
    if (sql.number("SHOW server_version_num") < 190000) // since then there are no other strings
        sql.exec("ALTER DATABASE " + database() + " SET standard_conforming_strings = off; ALTER DATABASE " +
                 database() + " SET escape_string_warning = off");
    worker w{options()};
    const nlohmann::json nasty{{"it's", "a \\' \"quote\"\n"}};
    w.on("k", [&](const job_context& job) -> outcome {
        compat::exec(job.transaction(), "SELECT 1");
        return completed{nasty};
    });
    w.start();
    const auto id = enqueue("k");
    await_end(id);
    EXPECT_EQ(nlohmann::json::parse(*ended(id, "result")), nasty);
    w.stop();
    w.join();
}

} // namespace
} // namespace haul::test
