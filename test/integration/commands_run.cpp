// What commands of schedules do, and what is written down of them, with the library preloaded and without.
#include "support/cluster.hpp"
#include "support/command_runs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class commands_run : public testing::TestWithParam<bool> {
protected:
    cluster server{{GetParam(), {{"max_worker_processes", "32"}, {"log_statement", "ddl"}}}};
    const std::string dsn = server.create_database();
    session sql{dsn};
    command_runs runs{sql};
};

INSTANTIATE_TEST_SUITE_P(, commands_run, testing::Bool(),
                         [](const auto& info) { return info.param ? "preloaded" : "unpreloaded"; });

TEST_P(commands_run, each_kind_of_statement_reports_as_to_a_client) {
    sql.exec("CREATE TABLE t (i integer)");
    EXPECT_EQ(runs.outcome("SELECT 1"), "succeeded: 1 row");
    EXPECT_EQ(runs.outcome("SELECT FROM generate_series(1, 20000)"), "succeeded: 20000 rows");
    EXPECT_EQ(runs.outcome("SELECT 1 WHERE false"), "succeeded: 0 rows");
    EXPECT_EQ(runs.outcome("INSERT INTO t VALUES (1), (2)"), "succeeded: INSERT 0 2");
    EXPECT_EQ(runs.outcome("UPDATE t SET i = i + 1 RETURNING i"), "succeeded: 2 rows");
    EXPECT_EQ(runs.outcome("DELETE FROM t WHERE i = 2"), "succeeded: DELETE 1");
    EXPECT_EQ(runs.outcome("SHOW work_mem"), "succeeded: 1 row");
    EXPECT_EQ(runs.outcome("VALUES (1), (2), (3)"), "succeeded: 3 rows");
    EXPECT_EQ(runs.outcome("EXPLAIN (COSTS off) SELECT 1"), "succeeded: 1 row");
    EXPECT_EQ(runs.outcome("CREATE TABLE u AS SELECT 1 AS a"), "succeeded: SELECT 1");
    EXPECT_EQ(runs.outcome("-- nothing"), "succeeded: 0 rows");
    EXPECT_EQ(runs.outcome("SELECT 1/0"), "failed: ERROR:  division by zero");
    EXPECT_THAT(runs.outcome("SELEC 1"), StartsWith("failed: ERROR:  syntax error at or near \"SELEC\""));
    EXPECT_EQ(
        runs.outcome("DO $$ BEGIN RAISE EXCEPTION 'm' USING DETAIL = 'd', HINT = 'h'; END $$"),
        "failed: ERROR:  m\nDETAIL:  d\nHINT:  h\nCONTEXT:  PL/pgSQL function inline_code_block line 1 at "
        "RAISE");
    EXPECT_THAT(runs.outcome("COPY t TO STDOUT"), HasSubstr("cannot COPY to or from the client"));
    EXPECT_THAT(runs.outcome("COPY t FROM STDIN"), HasSubstr("cannot COPY to or from the client"));
    EXPECT_THAT(runs.outcome("LISTEN x"), HasSubstr("within a background process"));
    EXPECT_EQ(sql.number("SELECT sum(i) FROM t"), 3);
}

TEST_P(commands_run, what_must_be_alone_may_be) {
    sql.exec("CREATE TABLE t (i integer);"
             "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN FOR n IN 1..3 LOOP INSERT INTO t VALUES (n);"
             " IF n = 2 THEN ROLLBACK; ELSE COMMIT; END IF; END LOOP; END $$");
    EXPECT_EQ(runs.outcome("VACUUM t"), "succeeded: VACUUM");
    EXPECT_EQ(runs.outcome("CREATE INDEX CONCURRENTLY ON t (i)"), "succeeded: CREATE INDEX");
    EXPECT_EQ(runs.outcome("CALL p()"), "succeeded: CALL");
    EXPECT_EQ(sql.text("SELECT string_agg(i::text, ',') FROM t"), "1,3");
    EXPECT_THAT(runs.outcome("SELECT 1; VACUUM t"),
                StartsWith("failed: ERROR:  VACUUM cannot run inside a transaction block"));
    EXPECT_THAT(runs.outcome("BEGIN; CALL p(); COMMIT"), HasSubstr("invalid transaction termination"));
}

TEST_P(commands_run, several_statements_are_one_transaction_unless_they_say_otherwise) {
    sql.exec("CREATE TABLE t (i integer)");
    EXPECT_EQ(runs.outcome("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SELECT * FROM t"),
              "succeeded: 2 rows");
    EXPECT_EQ(runs.outcome("INSERT INTO t VALUES (3); SELECT 1/0"), "failed: ERROR:  division by zero");
    EXPECT_EQ(sql.number("SELECT max(i) FROM t"), 2);
    EXPECT_EQ(runs.outcome("BEGIN; INSERT INTO t VALUES (4); COMMIT; INSERT INTO t VALUES (5); SELECT 1/0"),
              "failed: ERROR:  division by zero");
    EXPECT_EQ(sql.number("SELECT max(i) FROM t"), 4);
    EXPECT_EQ(runs.outcome("BEGIN; INSERT INTO t VALUES (6); ROLLBACK; INSERT INTO t VALUES (7)"),
              "succeeded: INSERT 0 1");
    EXPECT_EQ(sql.text("SELECT string_agg(i::text, ',') FROM t"), "1,2,4,7");
    EXPECT_THAT(runs.outcome("BEGIN; INSERT INTO t VALUES (8)"), HasSubstr("left a transaction open"));
    EXPECT_EQ(sql.number("SELECT max(i) FROM t"), 7);
    // a later statement sees what an earlier one made
    EXPECT_EQ(runs.outcome("CREATE TABLE v (i integer); INSERT INTO v VALUES (1); DROP TABLE v"),
              "succeeded: DROP TABLE");
}

TEST_P(commands_run, a_run_is_written_down_from_its_beginning_to_its_end) {
    const std::int64_t run = runs.fire("SELECT pg_sleep(60)");
    runs.await(run, "running");
    wait_until(
        [&] {
            return sql.truth(
                "SELECT EXISTS (SELECT FROM pg_stat_activity AS a JOIN haul.cron_runs AS r USING (pid)"
                " WHERE r.id = $1 AND a.query = 'SELECT pg_sleep(60)' AND a.usename = 'postgres'"
                " AND a.backend_type = 'pg_haul command' AND a.application_name = 'pg_haul')",
                {std::to_string(run)});
        },
        "its process is known");
    EXPECT_TRUE(
        sql.truth("SELECT started_at >= fired_at AND finished_at IS NULL FROM haul.cron_runs WHERE id = $1",
                  {std::to_string(run)}));
    sql.exec("SELECT pg_cancel_backend(pid) FROM haul.cron_runs WHERE id = $1", {std::to_string(run)});
    EXPECT_EQ(runs.await_end(run).message, "ERROR:  canceling statement due to user request");
    EXPECT_TRUE(sql.truth("SELECT state = 'failed' AND pid IS NOT NULL AND duration > '0' FROM haul.cron_runs"
                          " WHERE id = $1",
                          {std::to_string(run)}));
    wait_until([&] { return runs.processes() == 0; }, "no process is left");
}

TEST_P(commands_run, a_process_that_is_terminated_fails_its_run) {
    const std::int64_t run = runs.fire("SELECT pg_sleep(60)");
    wait_until([&] { return sql.truth("SELECT pid IS NOT NULL FROM haul.cron_runs"); },
               "its process is known");
    sql.exec("SELECT pg_terminate_backend(pid) FROM haul.cron_runs");
    EXPECT_EQ(runs.await_end(run).state, "failed");
    EXPECT_THAT(runs.of(run).message,
                StartsWith("FATAL:  terminating background worker \"pg_haul command\""));
}

TEST_P(commands_run, settings_of_role_and_database_hold) {
    sql.exec("CREATE ROLE slow LOGIN; ALTER ROLE slow SET statement_timeout = '50ms';"
             "ALTER ROLE slow SET search_path = there; CREATE SCHEMA there AUTHORIZATION slow;"
             "ALTER DATABASE haul_test SET work_mem = '7MB'");
    EXPECT_EQ(runs.outcome("SELECT pg_sleep(60)", "slow"),
              "failed: ERROR:  canceling statement due to statement timeout");
    // for each statement anew
    EXPECT_EQ(runs.outcome("SELECT pg_sleep(0.03); SELECT pg_sleep(0.03); SELECT pg_sleep(0.03)", "slow"),
              "succeeded: 1 row");
    EXPECT_EQ(
        runs.outcome("CREATE TABLE t AS SELECT current_setting('work_mem') AS m, current_user::text AS u",
                     "slow"),
        "succeeded: SELECT 1");
    EXPECT_EQ(sql.text("SELECT m || ' ' || u FROM there.t"), "7MB slow");
}

TEST_P(commands_run, in_other_databases_and_encodings) {
    sql.exec("CREATE DATABASE other");
    sql.exec("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    EXPECT_EQ(runs.outcome("CREATE TABLE t AS SELECT 'ä'::text AS a", "postgres", "other"),
              "succeeded: SELECT 1");
    EXPECT_EQ(session(server.dsn("other")).text("SELECT a FROM t"), "ä");
    EXPECT_EQ(runs.outcome("CREATE TABLE t AS SELECT 'ä'::text AS a", "postgres", "latin"),
              "succeeded: SELECT 1");
    EXPECT_EQ(session(server.dsn("latin")).number("SELECT octet_length(a) FROM t"), 1);
    EXPECT_THAT(runs.outcome("SELECT '漢'", "postgres", "latin"),
                StartsWith("failed: ERROR:  character with byte"));
    EXPECT_EQ(runs.outcome("DO $$ BEGIN RAISE 'für'; END $$", "postgres", "other").substr(0, 20),
              "failed: ERROR:  für");
    EXPECT_EQ(runs.outcome("DO $$ BEGIN RAISE 'für'; END $$", "postgres", "latin").substr(0, 19),
              "failed: ERROR:  f?r");
    EXPECT_EQ(runs.outcome("SELECT 1", "postgres", "absent"),
              "failed: FATAL:  database \"absent\" does not exist");
    EXPECT_EQ(runs.outcome("SELECT 1", "postgres", "template0"),
              "failed: FATAL:  database \"template0\" is not currently accepting connections");
}

TEST_P(commands_run, long_messages_are_cut_between_characters) {
    const command_run run = runs.await_end(runs.fire("DO $$ BEGIN RAISE '%', repeat('ü', 5000); END $$"));
    EXPECT_EQ(run.state, "failed");
    EXPECT_LT(run.message.size(), 1024);
    EXPECT_GE(run.message.size(), 1022);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.cron_runs WHERE message LIKE '%üü'"), 1);
}

TEST_P(commands_run, so_many_at_once_and_one_of_a_schedule) {
    sql.exec("ALTER DATABASE haul_test SET haul.max_commands = 3");
    std::vector<std::int64_t> all;
    const std::int64_t
        allowed = sql.number(
            "INSERT INTO haul.cron (name, schedule, command, overlap) VALUES ('a', '@yearly', 'x', 'allow')"
            " RETURNING id"),
        queued = sql.number("INSERT INTO haul.cron (name, schedule, command, overlap)"
                            " VALUES ('q', '@yearly', 'x', 'queue') RETURNING id");
    const std::string wait = "SELECT pg_advisory_lock(1)";
    sql.exec("SELECT pg_advisory_lock(1)");
    for (int n = 0; n < 2; ++n)
        all.push_back(runs.fire(wait, "postgres", {}, queued));
    for (int n = 0; n < 3; ++n)
        all.push_back(runs.fire(wait, "postgres", {}, allowed));
    const auto states = [&] {
        return sql.text("SELECT string_agg(state, ' ' ORDER BY id) FROM haul.cron_runs");
    };
    const std::string expected = "running starting running running starting";
    wait_until([&] { return states() == expected; }, "three run, not two of the one schedule");
    expect_all_along([&] { return states() == expected; }, "it stays so", 1500ms);
    sql.exec("SELECT pg_advisory_unlock(1)");
    for (const std::int64_t run : all)
        EXPECT_EQ(runs.await_end(run).state, "succeeded");
    // in order
    EXPECT_TRUE(sql.truth("SELECT a.finished_at <= b.started_at FROM haul.cron_runs AS a, haul.cron_runs AS b"
                          " WHERE a.id = $1 AND b.id = $2",
                          {std::to_string(all[0]), std::to_string(all[1])}));
}

TEST_P(commands_run, the_next_does_not_wait_until_somebody_looks) {
    const std::int64_t first = runs.fire("SELECT pg_sleep(60)");
    runs.await(first, "running");
    for (int n = 0; n < 5; ++n)
        EXPECT_EQ(runs.outcome("SELECT 1"), "succeeded: 1 row");
    sql.exec("SELECT pg_cancel_backend(pid) FROM haul.cron_runs WHERE id = $1", {std::to_string(first)});
    EXPECT_EQ(runs.await_end(first).state, "failed");
}

TEST_P(commands_run, what_rolls_back_runs_nothing) {
    sql.exec("BEGIN");
    runs.fire("CREATE TABLE t ()");
    sql.exec("ROLLBACK");
    EXPECT_EQ(runs.outcome("SELECT 1"), "succeeded: 1 row");
    EXPECT_FALSE(sql.truth("SELECT to_regclass('t') IS NOT NULL"));
    wait_until([&] { return runs.processes() == 0; }, "no process is left");
}

TEST_P(commands_run, statements_are_logged_where_the_server_logs_them) {
    runs.outcome("CREATE TABLE logged ()");
    EXPECT_THAT(server.log(), HasSubstr("LOG:  statement: CREATE TABLE logged ()"));
}

TEST_P(commands_run, a_schedule_fires_and_its_command_runs) {
    sql.exec("CREATE TABLE t (i integer)");
    sql.exec("SELECT haul.schedule('every second', '1 seconds', 'INSERT INTO t VALUES (1)')");
    wait_until(
        [&] {
            if (!GetParam())
                sql.exec("SELECT haul.maintain()");
            return sql.number("SELECT count(*) FROM t") >= 3;
        },
        "it ran three times");
    EXPECT_EQ(sql.text("SELECT DISTINCT status || ': ' || return_message FROM haul.job_run_details WHERE "
                       "end_time IS NOT NULL"),
              "succeeded: INSERT 0 1");
    EXPECT_TRUE(sql.truth("SELECT haul.unschedule('every second')"));
}

} // namespace
} // namespace haul::test
