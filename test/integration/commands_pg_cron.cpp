// The calls of pg_cron, side by side with the real one; moving over from it; living beside it.
#include "support/cluster.hpp"
#include "support/command_runs.hpp"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;

// A server with the real one, and with nothing of ours in the background.
class commands_pg_cron : public testing::Test {
protected:
    commands_pg_cron() {
        admin.exec("ALTER SYSTEM SET cron.host = '" + admin.text("SHOW unix_socket_directories") + "'");
        server.restart();
        admin = session(server.dsn());
        admin.exec("CREATE EXTENSION pg_cron");
        admin.exec("CREATE EXTENSION pg_haul");
        admin.exec("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE nobody NOLOGIN;"
                   "GRANT USAGE ON SCHEMA cron TO alice, bob;"
                   "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO alice, bob;"
                   "SELECT haul.grant_admin('alice'), haul.grant_admin('bob')");
        admin.exec("CREATE DATABASE closed");
        admin.exec("REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
        admin.exec("CREATE DATABASE other");
    }

    static std::string text_of(const rows& found) {
        std::string text;
        for (const row& line : found) {
            for (const value& column : line)
                text += column.value_or("NULL") + '|';
            text += '\n';
        }
        return text;
    }

    // What a statement reports, with the schema put in for @.
    static std::string report(session& caller, std::string statement, const std::string& schema) {
        for (std::size_t at = 0; (at = statement.find('@', at)) != std::string::npos;)
            statement.replace(at, 1, schema);
        try {
            return text_of(caller.exec(statement));
        } catch (const sql_error& error) {
            return std::string("ERROR: ") + error.what();
        }
    }

    // pg_cron begins a run at the full minute.
    void await_runs(int count) {
        wait_until(
            [&] {
                return admin.number("SELECT count(*) FROM cron.job_run_details WHERE end_time IS NOT NULL") >=
                       count;
            },
            "pg_cron has run", 75s);
    }

    cluster server{{false,
                    {{"shared_preload_libraries", "pg_cron"},
                     {"cron.database_name", "postgres"},
                     {"max_worker_processes", "32"}}}};
    session admin{server.dsn()};
};

TEST_F(commands_pg_cron, both_report_the_same) {
    session alice(server.dsn() + " options='-c role=alice'");
    const std::vector<std::pair<session*, std::string>> script = {
        {&admin, "SELECT @.schedule('nightly', '0 3 * * *', 'VACUUM') = @.schedule('nightly', '0 4 * * *', "
                 "'ANALYZE')"},
        {&admin, "SELECT @.schedule('*/5 * * * *', 'SELECT 1') > 0"},
        {&admin, "SELECT @.schedule('', '*/6 * * * *', 'SELECT 2') > 0"},
        {&admin, "SELECT pg_typeof(@.schedule('t', '@daily', 'SELECT 1'))"},
        {&admin, "SELECT @.schedule('n', NULL, 'SELECT 1')"},
        {&admin, "SELECT @.schedule('n', '* * * * *', NULL)"},
        {&admin, "SELECT @.schedule(NULL, '* * * * *', 'SELECT 1')"},
        {&admin, "SELECT @.schedule_in_database('there', '0 0 1 1 0', 'SELECT 3', 'other') > 0"},
        {&admin,
         "SELECT @.schedule_in_database('hers', '1 0 * * *', 'SELECT 4', 'other', 'alice', false) > 0"},
        {&admin, "SELECT @.schedule_in_database('x', '* * * * *', 'SELECT 1', 'absent')"},
        {&admin, "SELECT @.schedule_in_database('x', '* * * * *', 'SELECT 1', 'other', 'absent')"},
        {&admin, "SELECT @.schedule_in_database('x', '* * * * *', 'SELECT 1', 'other', 'nobody')"},
        {&admin, "SELECT @.schedule_in_database('x', '* * * * *', 'SELECT 1', 'closed', 'alice')"},
        {&alice, "SELECT @.schedule('own', '* * * * *', 'SELECT 5') > 0"},
        {&alice, "SELECT @.schedule_in_database('x', '* * * * *', 'SELECT 1', 'closed')"},
        {&admin, "SELECT @.alter_job(jobid, schedule => '2 2 * * *', active => false) FROM @.VIEW WHERE "
                 "jobname = 'there'"},
        {&admin, "SELECT @.alter_job(jobid, command => 'SELECT 6', database => 'postgres') FROM @.VIEW WHERE "
                 "jobname = 'there'"},
        {&admin, "SELECT @.alter_job(jobid, username => 'bob') FROM @.VIEW WHERE jobname = 'there'"},
        {&admin, "SELECT @.alter_job(jobid, username => 'absent') FROM @.VIEW WHERE jobname = 'there'"},
        {&admin, "SELECT @.alter_job(jobid, database => 'absent') FROM @.VIEW WHERE jobname = 'there'"},
        {&admin, "SELECT @.alter_job(jobid) FROM @.VIEW WHERE jobname = 'there'"},
        {&admin, "SELECT @.alter_job(NULL, active => true)"},
        {&admin, "SELECT schedule, command, database, username, active, nullif(jobname, '') FROM @.VIEW "
                 "ORDER BY jobid"},
        {&alice, "SELECT schedule, command, database, username, active, nullif(jobname, '') FROM @.VIEW "
                 "ORDER BY jobid"},
        {&alice, "SELECT @.unschedule('own')"},
        {&admin, "SELECT @.unschedule('nightly')"},
        {&admin, "SELECT @.unschedule('nightly')"},
        {&admin, "SELECT @.unschedule(987654)"},
        {&admin, "SELECT @.unschedule(jobid) FROM @.VIEW WHERE jobname = 'there'"},
        {&admin, "SELECT count(*) FROM @.VIEW"},
        {&admin, "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = "
                 "'@.job_run_details'::regclass"
                 " AND attnum > 0 ORDER BY attnum"},
        {&admin, "SELECT attname FROM pg_attribute WHERE attrelid = '@.VIEW'::regclass AND attnum > 0 ORDER "
                 "BY attnum"},
        {&admin,
         "SELECT p.proname, p.proargnames, format_type(p.prorettype, NULL),"
         " pg_get_expr(p.proargdefaults, 0) FROM pg_proc AS p WHERE p.pronamespace = '@'::regnamespace AND"
         " p.proname IN ('schedule', 'schedule_in_database', 'unschedule', 'alter_job') ORDER BY 1, 2"},
    };
    for (auto [caller, statement] : script) {
        const auto with = [&text = statement](const std::string& view) {
            std::string made = text;
            for (std::size_t at; (at = made.find("VIEW")) != std::string::npos;)
                made.replace(at, 4, view);
            // a name of a schedule is none of a schema
            for (std::size_t at; (at = made.find("'@daily'")) != std::string::npos;)
                made.replace(at, 8, "chr(64) || 'daily'");
            return made;
        };
        EXPECT_EQ(report(*caller, with("cron_jobs"), "haul"), report(*caller, with("job"), "cron"))
            << statement;
    }
}

TEST_F(commands_pg_cron, commands_end_alike) {
    admin.exec(
        "CREATE TABLE t (i integer); CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$");
    const std::vector<std::string> commands = {
        "SELECT 1",
        "SELECT FROM generate_series(1, 7)",
        "INSERT INTO t VALUES (1), (2)",
        "INSERT INTO t VALUES (3) RETURNING i",
        "UPDATE t SET i = i WHERE false",
        "CREATE TABLE IF NOT EXISTS t (i integer)",
        "VACUUM t",
        "CALL p()",
        "SELECT 1; INSERT INTO t VALUES (4)",
        "INSERT INTO t VALUES (5); SELECT 1 WHERE false",
        "DO $$ BEGIN NULL; END $$",
        "SELECT 1/0",
        "SELECT 1; VACUUM t",
        "DO $$ BEGIN RAISE EXCEPTION 'm' USING DETAIL = 'd', HINT = 'h'; END $$",
        "SET ROLE absent",
    };
    for (std::size_t n = 0; n < commands.size(); ++n)
        for (const std::string schema : {"cron", "haul"})
            admin.exec("SELECT " + schema + ".schedule($1, $2, $3)",
                       {"job" + std::to_string(n), schema == "cron" ? "* * * * *" : "@yearly", commands[n]});
    await_runs(static_cast<int>(commands.size()));
    admin.exec("UPDATE cron.job SET active = false");
    command_runs ours(admin);
    for (std::size_t n = 0; n < commands.size(); ++n) {
        const std::string name = "job" + std::to_string(n);
        ours.await_end(
            ours.fire(commands[n], "postgres", {},
                      admin.number("SELECT jobid FROM haul.cron_jobs WHERE jobname = $1", {name})));
        const auto details = [&](const std::string& schema, const std::string& jobs) {
            return text_of(admin.exec("SELECT DISTINCT r.database, r.username, r.command, r.status,"
                                      " rtrim(r.return_message, E'\\n'), r.start_time <= r.end_time FROM " +
                                          schema + ".job_run_details AS r JOIN " + schema + "." + jobs +
                                          " AS j USING (jobid) WHERE j.jobname = $1",
                                      {name}));
        };
        EXPECT_EQ(details("haul", "cron_jobs"), details("cron", "job")) << commands[n];
    }
}

TEST_F(commands_pg_cron, it_can_drive_all_of_ours) {
    ASSERT_EQ(admin.number("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_haul%'"), 0);
    admin.exec("CREATE TABLE t (i integer)");
    admin.exec("SELECT haul.schedule('ours', '10 seconds', 'INSERT INTO t VALUES (1)')");
    admin.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('a job', '10 seconds', 'k')");
    admin.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', 'theirs')");
    const std::int64_t worker =
        admin.number("SELECT haul.register_worker('silent', '{\"queues\": [\"theirs\"]}')");
    admin.exec("SELECT haul.checkout($1)", {std::to_string(worker)});
    admin.exec("UPDATE haul.workers SET last_heartbeat_at = now() - interval '1 hour'");
    // A worker is given up at the fourth look that finds it silent.
    wait_until(
        [&] {
            admin.exec("SELECT haul._look()");
            return admin.truth("SELECT looks[2] > '-infinity' FROM haul._watch");
        },
        "three looks were taken");
    wait_until(
        [&] {
            return admin.truth(
                "SELECT haul._server_up_since() + haul._setting('haul.worker_timeout')::interval"
                " < clock_timestamp()");
        },
        "workers have had their time since the start of the server");
    admin.exec("SELECT cron.schedule('haul', '* * * * *', 'SELECT haul.maintain()')");
    await_runs(1);
    EXPECT_EQ(admin.text("SELECT DISTINCT status FROM cron.job_run_details"), "succeeded");
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.workers WHERE lost_at IS NULL"), 0);
    EXPECT_EQ(admin.text("SELECT state FROM haul.jobs WHERE queue = 'theirs'"), "ready");
    EXPECT_GE(admin.number("SELECT count(*) FROM haul.jobs WHERE cron_name = 'a job'"), 1);
    wait_until([&] { return admin.number("SELECT count(*) FROM t") >= 1; }, "our command has run");
    wait_until([&] { return command_runs(admin).processes() == 0; }, "nothing of ours stays");
}

class commands_import : public commands_pg_cron {
protected:
    commands_import() {
        admin.exec(
            "SELECT cron.schedule('nightly', '0 3 * * *', 'VACUUM');"
            "SELECT cron.schedule('*/5 * * * *', 'SELECT 1');"
            "SELECT cron.schedule_in_database('there', '5 5 * * 7', 'SELECT 2', 'other');"
            "SELECT cron.schedule_in_database('nightly', '0 4 * * *', 'SELECT 3', 'postgres', 'alice');"
            "SELECT cron.schedule_in_database('asleep', '0 5 * * *', 'SELECT 4', 'postgres', 'bob', false)");
    }

    std::string import(const std::string& arguments = "") {
        return text_of(admin.exec("SELECT * FROM haul.import_pg_cron(" + arguments + ")"));
    }

    std::string refusal(const std::string& arguments = "") {
        try {
            import(arguments);
        } catch (const sql_error& error) {
            return error.sqlstate() + " " + error.what();
        }
        return "accepted";
    }

    std::int64_t active() { return admin.number("SELECT count(*) FROM cron.job WHERE active"); }
    std::int64_t imported() { return admin.number("SELECT count(*) FROM haul.cron"); }
};

TEST_F(commands_import, takes_over_all_of_it_once) {
    const std::string report = "1|nightly|nightly|1|imported|\n"
                               "2|NULL|pg_cron_2|2|imported|\n"
                               "3|there|there|3|imported|\n"
                               "4|nightly|nightly (alice)|4|imported|\n"
                               "5|asleep|asleep|5|imported, not active|\n";
    EXPECT_EQ(import(), report);
    EXPECT_EQ(active(), 0);
    const std::string seen =
        "SELECT schedule, timezone, command, database, owner, enabled, overlap, " // NULL: this database
        "next_run_at > now() FROM haul.cron ORDER BY id";
    const std::string expected = "0 3 * * *|GMT|VACUUM|NULL|postgres|t|queue|t|\n"
                                 "*/5 * * * *|GMT|SELECT 1|NULL|postgres|t|queue|t|\n"
                                 "5 5 * * 7|GMT|SELECT 2|other|postgres|t|queue|t|\n"
                                 "0 4 * * *|GMT|SELECT 3|NULL|alice|t|queue|t|\n"
                                 "0 5 * * *|GMT|SELECT 4|NULL|bob|f|queue|NULL|\n";
    EXPECT_EQ(text_of(admin.exec(seen)), expected);

    EXPECT_EQ(import(), "1|nightly|nightly|1|was there already|\n"
                        "2|NULL|pg_cron_2|2|was there already|\n"
                        "3|there|there|3|was there already|\n"
                        "4|nightly|nightly (alice)|4|was there already|\n"
                        "5|asleep|asleep|5|was there already|\n");
    EXPECT_EQ(text_of(admin.exec(seen)), expected);
}

TEST_F(commands_import, leaves_the_originals_to_run_if_told_so) {
    import("disable => false");
    EXPECT_EQ(active(), 4);
    EXPECT_EQ(imported(), 5);
    admin.exec("SELECT cron.alter_job(1, command => 'ANALYZE')");
    EXPECT_THAT(
        import(),
        HasSubstr("1|nightly|nightly|1|was there already, with another schedule or command: left as it is|"));
    EXPECT_EQ(active(), 0);
    EXPECT_EQ(admin.text("SELECT command FROM haul.cron WHERE name = 'nightly'"), "VACUUM");
}

TEST_F(commands_import, is_all_or_nothing) {
    admin.exec("SELECT cron.schedule('six', '1 2 3 4 5 6', 'SELECT 1');"
               "SELECT cron.schedule('empty', '5-1 * * * *', 'SELECT 1');"
               "SELECT cron.schedule('good', '1 * * * *', 'SELECT 1')");
    admin.exec("UPDATE cron.job SET nodename = 'elsewhere.example' WHERE jobname = 'there'");
    admin.exec("ALTER ROLE bob NOLOGIN");
    EXPECT_EQ(refusal(), "22023 4 of the jobs of pg_cron cannot be taken over: nothing was changed");
    EXPECT_THAT(server.log(),
                HasSubstr("job 3 \"there\": it runs on another server, elsewhere.example port 5432"));
    EXPECT_THAT(server.log(), HasSubstr("job 5 \"asleep\": role \"bob\" can not log in"));
    EXPECT_THAT(server.log(), HasSubstr("job 6 \"six\": pg_cron reads only the first five fields"));
    EXPECT_THAT(server.log(), HasSubstr("job 7 \"empty\": "));
    EXPECT_EQ(imported(), 0);
    EXPECT_EQ(active(), 7);

    admin.exec("SELECT cron.unschedule('six'), cron.unschedule('empty'), cron.unschedule('there')");
    admin.exec("ALTER ROLE bob LOGIN");
    admin.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('nightly', '@daily', 'k'), ('nightly "
               "(alice)', '@daily', 'k')");
    EXPECT_EQ(refusal(), "22023 1 of the jobs of pg_cron cannot be taken over: nothing was changed");
    admin.exec("DELETE FROM haul.cron WHERE name = 'nightly (alice)'");
    EXPECT_THAT(import(), HasSubstr("1|nightly|nightly (postgres)|"));
}

TEST_F(commands_import, is_for_superusers_and_needs_a_pg_cron) {
    admin.exec("GRANT EXECUTE ON FUNCTION haul.import_pg_cron(boolean) TO alice; SET ROLE alice");
    EXPECT_EQ(refusal(), "42501 must be superuser to take over the jobs of all roles");
    admin.exec("RESET ROLE; DROP EXTENSION pg_cron");
    EXPECT_EQ(refusal(), "42704 there is no pg_cron in database \"postgres\"");
}

} // namespace
} // namespace haul::test
