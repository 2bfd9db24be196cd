// A command runs as the role that scheduled it, and cannot become another.
#include "support/cluster.hpp"
#include "support/command_runs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class commands_roles : public testing::Test {
protected:
    commands_roles() {
        sql.exec("CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE group_of_bob; GRANT "
                 "group_of_bob TO bob;"
                 "CREATE ROLE nobody NOLOGIN; CREATE TABLE secret AS SELECT 42 AS answer;"
                 "CREATE TABLE seen (who text); GRANT INSERT ON seen TO PUBLIC;"
                 "CREATE SCHEMA bobs AUTHORIZATION bob");
    }

    // What a command sees of itself.
    std::string as(const std::string& role, const std::string& prologue = "") {
        sql.exec("TRUNCATE seen");
        const std::string outcome =
            runs.outcome(prologue + "INSERT INTO seen VALUES (session_user || ' ' || current_user)", role);
        return outcome == "succeeded: INSERT 0 1" ? sql.text("SELECT who FROM seen") : outcome;
    }

    cluster server;
    session sql{server.create_database()};
    command_runs runs{sql};
};

TEST_F(commands_roles, it_is_that_role_from_the_beginning) {
    EXPECT_EQ(as("bob"), "bob bob");
    EXPECT_EQ(as("postgres"), "postgres postgres");
    EXPECT_THAT(runs.outcome("SELECT * FROM secret", "bob"),
                StartsWith("failed: ERROR:  permission denied for table secret"));
    EXPECT_THAT(runs.outcome("SELECT * FROM haul.jobs", "bob"),
                StartsWith("failed: ERROR:  permission denied for schema haul"));
}

TEST_F(commands_roles, nothing_leads_to_another) {
    const std::string denied = "failed: ERROR:  permission denied to set role \"postgres\"";
    EXPECT_EQ(as("bob", "SET ROLE postgres; "), denied);
    EXPECT_EQ(as("bob", "SELECT set_config('role', 'postgres', false); "), denied);
    EXPECT_THAT(as("bob", "SET SESSION AUTHORIZATION postgres; "),
                StartsWith("failed: ERROR:  permission denied to set session authorization"));
    EXPECT_THAT(as("bob", "SET SESSION AUTHORIZATION alice; "),
                StartsWith("failed: ERROR:  permission denied to set session authorization"));
    EXPECT_EQ(as("bob", "RESET ROLE; "), "bob bob");
    EXPECT_EQ(as("bob", "SET ROLE NONE; "), "bob bob");
    EXPECT_EQ(as("bob", "RESET SESSION AUTHORIZATION; "), "bob bob");
    EXPECT_EQ(as("bob", "RESET ALL; "), "bob bob");
    EXPECT_EQ(as("bob", "DISCARD PLANS; "), "bob bob");
    EXPECT_EQ(as("bob", "SET ROLE group_of_bob; RESET ROLE; "), "bob bob");
    EXPECT_THAT(as("bob", "SET session_replication_role = replica; "),
                HasSubstr("permission denied to set parameter"));
    EXPECT_THAT(as("bob", "SET haul.enqueuer = 'postgres'; "),
                HasSubstr("permission denied to set parameter"));
    EXPECT_EQ(runs.outcome("DISCARD ALL", "bob"), "succeeded: DISCARD ALL");
    // his own functions, in whatever disguise
    EXPECT_EQ(runs.outcome("CREATE FUNCTION bobs.f() RETURNS void SECURITY DEFINER LANGUAGE plpgsql"
                           " AS $$ BEGIN RESET ROLE; EXECUTE 'SELECT * FROM public.secret'; END $$;"
                           "SELECT bobs.f()",
                           "bob")
                  .substr(0, 61),
              "failed: ERROR:  cannot set parameter \"role\" within security-d");
    EXPECT_THAT(runs.outcome("CREATE FUNCTION bobs.g() RETURNS void LANGUAGE plpgsql SET role = 'postgres'"
                             " AS $$ BEGIN END $$; SELECT bobs.g()",
                             "bob"),
                HasSubstr("permission denied to set role \"postgres\""));
    EXPECT_EQ(runs.outcome("DO $$ BEGIN SET ROLE postgres; END $$", "bob").substr(0, denied.size()), denied);
    EXPECT_EQ(
        sql.number("SELECT count(*) FROM haul.cron_runs WHERE command LIKE '%postgres%' AND state <> 'failed'"
                   " AND username = 'bob'"),
        0);
}

TEST_F(commands_roles, a_role_of_the_database_settings_is_set_as_in_a_session) {
    sql.exec("ALTER ROLE bob SET role = 'group_of_bob'");
    EXPECT_EQ(as("bob"), "bob group_of_bob");
    EXPECT_EQ(as("bob", "RESET ROLE; "), "bob group_of_bob");
    EXPECT_EQ(as("bob", "SET ROLE NONE; "), "bob bob");
}

TEST_F(commands_roles, who_may_not_log_in_or_connect_runs_nothing) {
    EXPECT_EQ(runs.outcome("SELECT 1", "nobody"),
              "failed: FATAL:  role \"nobody\" is not permitted to log in");
    EXPECT_EQ(runs.outcome("SELECT 1", "absent"), "failed: FATAL:  role \"absent\" does not exist");
    sql.exec("CREATE DATABASE closed");
    sql.exec("REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
    EXPECT_EQ(
        runs.outcome("SELECT 1", "bob", "closed"),
        "failed: FATAL:  permission denied for database \"closed\"\nDETAIL:  User does not have CONNECT "
        "privilege.");
    EXPECT_EQ(runs.outcome("SELECT 1", "postgres", "closed"), "succeeded: 1 row");
}

// Between the tick and the start of the command, too.
TEST_F(commands_roles, who_got_the_name_of_one_that_is_gone_runs_nothing) {
    sql.exec("CREATE ROLE carol LOGIN");
    const std::int64_t schedule =
        sql.number("SELECT haul.schedule_in_database('hers', '@yearly', 'SELECT 1', NULL, 'carol')");
    EXPECT_EQ(runs.await_end(runs.fire("SELECT 1", "carol", {}, schedule)).state, "succeeded");
    sql.exec("DROP ROLE carol");
    sql.exec("CREATE ROLE carol LOGIN SUPERUSER");
    const command_run after = runs.await_end(runs.fire("SELECT 1", "carol", {}, schedule));
    EXPECT_EQ(after.state, "failed");
    EXPECT_EQ(after.message, "FATAL:  role \"\" does not exist");
}

// An administrator of schedules is no superuser.
TEST_F(commands_roles, schedules_of_others_are_out_of_reach) {
    sql.exec("SELECT haul.grant_admin('alice'), haul.grant_admin('bob')");
    session alice(server.dsn("haul_test") + " options='-c role=alice'");
    session bob(server.dsn("haul_test") + " options='-c role=bob'");
    const std::string hers = alice.text("SELECT haul.schedule('hers', '@yearly', 'SELECT 1')");
    const std::string root = sql.text("SELECT haul.schedule('root', '@yearly', 'SELECT 1')");
    const auto refused = [&](const std::string& statement) {
        try {
            bob.exec(statement);
        } catch (const sql_error& error) {
            return error.sqlstate();
        }
        return std::string("accepted");
    };
    for (const std::string& id : {hers, root}) {
        EXPECT_EQ(refused("SELECT haul.alter_job(" + id + ", command => 'SELECT 666')"), "42501");
        EXPECT_EQ(refused("SELECT haul.alter_job(" + id + ", schedule => '@hourly')"), "42501");
        EXPECT_EQ(refused("SELECT haul.alter_job(" + id + ", username => 'bob')"), "42501");
        EXPECT_EQ(refused("SELECT haul.unschedule(" + id + ")"), "42501");
        // which he does not even see
        EXPECT_EQ(refused("UPDATE haul.cron SET command = 'SELECT 666' WHERE id = " + id), "accepted");
        EXPECT_EQ(refused("UPDATE haul.cron SET owner = 'bob' WHERE id = " + id), "accepted");
        EXPECT_EQ(refused("DELETE FROM haul.cron WHERE id = " + id), "accepted");
    }
    EXPECT_EQ(refused("UPDATE haul.cron SET command = 'SELECT 666'"), "accepted");
    EXPECT_EQ(bob.number("SELECT count(*) FROM haul.cron"), 0);
    const std::string own = bob.text("SELECT haul.schedule('his', '@yearly', 'SELECT 1')");
    EXPECT_EQ(refused("SELECT haul.schedule('hers', '@yearly', 'SELECT 666')"), "42710");
    EXPECT_EQ(refused("SELECT haul.alter_job(" + own + ", username => 'postgres')"), "42501");
    EXPECT_EQ(refused("SELECT haul.schedule_in_database('x', '@yearly', 'SELECT 1', 'haul_test', 'alice')"),
              "42501");
    EXPECT_EQ(
        refused("SELECT haul.schedule_in_database('x', '@yearly', 'SELECT 1', 'haul_test', 'postgres')"),
        "42501");
    EXPECT_EQ(refused("UPDATE haul.cron SET owner = 'postgres' WHERE name = 'his'"), "42501");
    EXPECT_EQ(refused("INSERT INTO haul.cron (name, schedule, command, owner) VALUES ('y', '@yearly', 'x', "
                      "'postgres')"),
              "42501");
    EXPECT_EQ(refused("INSERT INTO haul.cron_runs (cron_id, name, run_at, state, command, username)"
                      " VALUES (1, 'x', now(), 'starting', 'x', 'postgres')"),
              "42501");
    EXPECT_EQ(refused("UPDATE haul.job_run_details SET return_message = ''"), "42501");
    EXPECT_EQ(refused("SELECT haul._run_commands()"), "42501");
    EXPECT_EQ(refused("SELECT haul._start_command_runner(false)"), "42501");
    EXPECT_EQ(refused("SELECT haul.import_pg_cron()"), "42501");
    EXPECT_EQ(
        sql.text(
            "SELECT string_agg(name || ' ' || owner || ' ' || command, ', ' ORDER BY id) FROM haul.cron"),
        "hers alice SELECT 1, root postgres SELECT 1, his bob SELECT 1");

    EXPECT_EQ(bob.text("SELECT string_agg(jobname, ',') FROM haul.cron_jobs"), "his");
    const std::int64_t run = runs.fire("SELECT 1", "alice");
    runs.await_end(run);
    EXPECT_EQ(bob.number("SELECT count(*) FROM haul.job_run_details"), 0);
    EXPECT_EQ(bob.number("SELECT count(*) FROM haul.cron_runs"), 0);
    bob.exec("DELETE FROM haul.job_run_details");
    EXPECT_EQ(alice.number("SELECT count(*) FROM haul.job_run_details"), 1);
    alice.exec("DELETE FROM haul.job_run_details");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.cron_runs"), 0);
}

} // namespace
} // namespace haul::test
