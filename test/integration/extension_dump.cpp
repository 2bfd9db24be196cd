// pg_dump and restore of a database with jobs in every state.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <cctype>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

// Everything that must survive, in an order that says nothing about where it is stored.
const char* const contents[] = {
    "SELECT j::text FROM haul.jobs AS j ORDER BY id",
    "SELECT f::text FROM haul.finished_jobs AS f ORDER BY id",
    "SELECT e::text FROM haul.job_errors AS e ORDER BY job_id, attempt",
    "SELECT w::text FROM haul.workers AS w ORDER BY id",
    "SELECT l::text FROM haul.leases AS l ORDER BY id",
    "SELECT q::text FROM haul.queues AS q ORDER BY name",
    "SELECT k::text FROM haul.kinds AS k ORDER BY kind",
    "SELECT c::text FROM haul.counters AS c ORDER BY day, queue",
    "SELECT s::text FROM haul.workflow_status AS s ORDER BY id",
    "SELECT s::text FROM haul.workflow_steps AS s ORDER BY workflow_id, step",
    "SELECT r::text FROM haul.replies AS r ORDER BY id",
    "SELECT to_jsonb(c) - 'planned_at' FROM haul.cron AS c ORDER BY id",
    "SELECT r::text FROM haul.cron_runs AS r ORDER BY id",
};

class extension_dump : public ::testing::Test {
protected:
    extension_dump() {
        session database(dsn);
        database.exec("CREATE ROLE app; SELECT haul.grant_producer('app')");
        database.exec(
            "SET ROLE app; INSERT INTO haul.jobs (kind, queue) VALUES ('by app', 'odd ; queue'); RESET ROLE");
        database.exec("INSERT INTO haul.queues (name, keep_failed) VALUES ('default', '1 year')");
        database.exec("INSERT INTO haul.kinds (kind, backoff) VALUES ('k', 'constant(1)')");
        database.exec(R"sql(
            INSERT INTO haul.jobs (kind, args, run_at, max_attempts, unique_key, avoid, keep)
                SELECT 'k', jsonb_build_object('n', n), now() - interval '1 day' * n, 1 + n % 2, 'key' || n,
                       ARRAY['x', 'y z'], CASE WHEN n % 3 = 0 THEN interval '1 month' END
                    FROM generate_series(1, 30) AS n)sql");
        database.exec("SELECT haul.register_worker('gone'); DELETE FROM haul.workers");
        database.exec("CREATE ROLE ops; SELECT haul.grant_admin('ops')");
        database.exec(
            "SET ROLE ops; INSERT INTO haul.cron (name, schedule, kind, queue) VALUES"
            " ('gone', '@yearly', 'k', 'cron'), ('job', '@yearly', 'k', 'cron');"
            "INSERT INTO haul.cron (name, schedule, command) VALUES ('command', '@yearly', 'SELECT 1');"
            "DELETE FROM haul.cron WHERE name = 'gone'; RESET ROLE");
        database.exec("UPDATE haul.cron SET next_run_at = CASE name WHEN 'job' THEN '2100-01-01' ELSE "
                      "'2200-01-01' END::timestamptz");
        database.exec("SELECT haul._fire('2100-01-01')");
        database.exec(R"sql(
            DO $$
            DECLARE
                w bigint := haul.register_worker('w', '{"queues": ["default"]}');
                j record;
            BEGIN
                FOR j IN SELECT * FROM haul.checkout(w, 25) LOOP
                    CASE (j.args ->> 'n')::integer % 5
                        WHEN 0 THEN PERFORM haul.complete(w, ARRAY[j.id], ARRAY[j.claim], ARRAY['{"sum": 42}'::jsonb]);
                        WHEN 1 THEN PERFORM haul.fail(w, j.id, j.claim, 'no luck', '{"line": 7}');
                        WHEN 2 THEN PERFORM haul.progress(w, j.id, j.claim, '{"done": 0.5}');
                        WHEN 3 THEN PERFORM haul.release(w, ARRAY[j.id], ARRAY[j.claim]);
                        ELSE NULL;
                    END CASE;
                END LOOP;
            END
            $$)sql");
        // One of two that the last waits for has ended, and told so.
        database.exec(R"sql(
            SET ROLE app;
            SELECT haul.workflow('[{"kind": "first", "queue": "flow", "reply_to": "app"},
                {"kind": "second", "queue": "flow"}, {"kind": "last", "queue": "flow", "after": ["1", "2"]}]');
            RESET ROLE;
            SELECT haul.complete(w, ARRAY[j.id], ARRAY[j.claim], ARRAY['"first result"'::jsonb])
                FROM haul.register_worker('flow', '{"queues": ["flow"]}') AS w, haul.checkout(w, 1) AS j;
            SELECT haul.unregister_worker(max(id)) FROM haul.workers)sql");
    }

    std::string tool(const std::string& name) const { return cluster::program_directory() + "/" + name; }

    cluster server;
    std::string dsn = server.create_database("original");
    temporary_directory directory;
};

class extension_dump_as : public extension_dump, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(forms, extension_dump_as,
                         ::testing::Values("--format=custom", "--inserts", "--column-inserts",
                                           "--rows-per-insert=7"),
                         [](const auto& form) {
                             std::string name = form.param + 2;
                             std::replace_if(
                                 name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
                             return name;
                         });

TEST_P(extension_dump_as, keeps_everything) {
    session original(dsn);
    ASSERT_GT(original.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 0);
    ASSERT_GT(original.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 0);
    ASSERT_GT(original.number("SELECT count(DISTINCT state) FROM haul.finished_jobs"), 1);
    ASSERT_GT(original.number("SELECT count(*) FROM haul.job_errors"), 0);
    ASSERT_EQ(original.number("SELECT count(*) FROM haul.jobs WHERE enqueued_by = 'app'"), 3);
    original.exec("SELECT haul.maintain()");
    original.exec("INSERT INTO haul.jobs (kind) VALUES ('not folded yet')");

    const std::string file = (directory.path() / "dump").string();
    run({tool("pg_dump"), "--format=custom", GetParam(), "--file", file, "--dbname", dsn});
    session(server.dsn()).exec("CREATE DATABASE copy");
    run({tool("pg_restore"), "--exit-on-error", "--dbname", server.dsn("copy"), file});

    session copy(server.dsn("copy"));
    for (const char* query : contents)
        EXPECT_EQ(copy.exec(query), original.exec(query)) << query;
    EXPECT_THAT(check(server.dsn("copy")), IsEmpty());

    // New things get ids that were never used.
    const std::string highest =
        original.text("SELECT max(id) FROM (SELECT id FROM haul.jobs UNION ALL SELECT id FROM "
                      "haul.finished_jobs) AS j");
    EXPECT_GT(copy.number("INSERT INTO haul.jobs (kind) VALUES ('new') RETURNING id"), std::stoll(highest));
    EXPECT_GT(copy.number(
                  "INSERT INTO haul.cron (name, schedule, kind) VALUES ('new', '@yearly', 'k') RETURNING id"),
              original.number("SELECT max(id) FROM haul.cron"));
    EXPECT_EQ(copy.number("SELECT count(*) FROM haul.cron WHERE owner = 'ops'"), 2);
    EXPECT_GT(copy.number("SELECT haul.register_worker('new')"),
              original.number("SELECT max(id) FROM haul.workers"));
}

TEST_F(extension_dump, of_the_data_alone_goes_into_a_new_database) {
    session original(dsn);
    // of an hour, and a day, that the other database has not heard of
    original.exec("SELECT haul._add_history('2026-01-02 03:04:05+00')");
    original.exec(
        "INSERT INTO haul.finished_jobs SELECT o.* FROM (SELECT f FROM haul.finished_jobs AS f LIMIT 1) AS f,"
        " jsonb_populate_record(f.f, jsonb_build_object('id', nextval('haul.jobs_id_seq'),"
        " 'finished_at', '2026-01-02 03:04:05+00', 'keep_until', NULL)) AS o");
    original.exec("INSERT INTO haul.job_errors (job_id, attempt, failed_at, error) VALUES (1, 1, '2026-01-02 "
                  "00:00+00', "
                  "'long ago')");
    for (const std::string form : {"--format=custom", "--inserts"}) {
        const std::string file = (directory.path() / "data").string();
        run({tool("pg_dump"), "--data-only", "--format=custom", form, "--file", file, "--dbname", dsn});
        session(server.dsn()).exec("DROP DATABASE IF EXISTS copy WITH (FORCE)");
        session(server.dsn()).exec("CREATE DATABASE copy");
        session copy(server.dsn("copy"));
        copy.exec("CREATE EXTENSION pg_haul");
        run({tool("pg_restore"), "--exit-on-error", "--dbname", server.dsn("copy"), file});
        for (const char* query : contents)
            EXPECT_EQ(copy.exec(query), original.exec(query)) << query;
        EXPECT_EQ(check(server.dsn("copy")), check(dsn));
        EXPECT_EQ(copy.number("SELECT count(*) FROM haul.job_errors WHERE error = 'long ago'"), 1);
    }
    original.exec("SELECT haul.maintain()");
    EXPECT_EQ(original.number("SELECT count(*) FROM haul._leaves WHERE at < '2026-02-01'"), 0);
}

TEST_F(extension_dump, the_copy_works_on) {
    const std::string file = (directory.path() / "dump.sql").string();
    run({tool("pg_dump"), "--file", file, "--dbname", dsn});
    session(server.dsn()).exec("CREATE DATABASE copy");
    run({tool("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", file, "--dbname",
         server.dsn("copy")});

    // The restored worker still owns what it was running, and nothing else.
    session copy(server.dsn("copy"));
    EXPECT_EQ(
        copy.text(
            "SELECT haul.complete(worker_id, array_agg(id ORDER BY id), array_agg(claim ORDER BY id)) FROM "
            "haul.jobs WHERE state = 'running' AND progress IS NOT NULL GROUP BY worker_id"),
        "{}");
    const std::int64_t running = copy.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'");
    ASSERT_GT(running, 0);
    EXPECT_EQ(copy.number("SELECT haul.unregister_worker(id) FROM haul.workers"), running);
    EXPECT_TRUE(copy.truth("SELECT (haul.maintain() -> 'ran')::boolean"));
    EXPECT_THAT(check(server.dsn("copy")), IsEmpty());

    // So does the workflow.
    const std::string worker = copy.text(R"(SELECT haul.register_worker('flow', '{"queues": ["flow"]}'))");
    EXPECT_EQ(
        copy.text("SELECT haul.complete($1, array_agg(id), array_agg(claim)) FROM haul.checkout($1, 10)",
                  {worker}),
        "{}");
    EXPECT_EQ(
        copy.text("SELECT kind || ' ' || enqueued_by || ' ' || haul.results(id) FROM haul.jobs WHERE id "
                  "IN (SELECT id FROM haul.checkout($1, 10))",
                  {worker}),
        R"(last app {"1": "first result", "2": null})");

    // A job that had its key before the dump still has it.
    const std::string key =
        copy.text("SELECT unique_key FROM haul.jobs WHERE unique_key IS NOT NULL LIMIT 1");
    EXPECT_EQ(
        copy.number(
            "WITH i AS (INSERT INTO haul.jobs (kind, unique_key) VALUES ('k', $1) ON CONFLICT DO NOTHING "
            "RETURNING 1) SELECT count(*) FROM i",
            {key}),
        0);
}

} // namespace
} // namespace haul::test
