// Somebody publishes all tables of the database, ours among them: everything that is updated or deleted there
// must have an identity by which it can be replicated.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/session.hpp"
#include "support/waiting_worker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

TEST(publication, of_all_tables_stops_nothing) {
    cluster server{{false,
                    {{"wal_level", "logical"},
                     {"haul.keep_workflows", "0"},
                     {"haul.keep_replies", "0"},
                     {"haul.keep_cron_runs", "0"},
                     {"haul.keep_completed", "1h"}}}};
    const std::string dsn = server.create_database();
    session sql(dsn);
    sql.exec("CREATE PUBLICATION everything FOR ALL TABLES");
    sql.exec("SELECT pg_create_logical_replication_slot('everything', 'pgoutput')");

    // jobs, replies, workflows, schedules; each is made, runs, ends, is pruned
    sql.exec("INSERT INTO haul.queues (name) VALUES ('default')");
    sql.exec("UPDATE haul.queues SET priority = 1");
    sql.exec("INSERT INTO haul.jobs (kind, reply_to) SELECT 'k', 'me' FROM generate_series(1, 5)");
    sql.exec(R"(SELECT haul.workflow('[{"kind": "a"}, {"kind": "b"}, {"kind": "c", "after": ["1", "2"]}]'))");
    sql.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('c', '* * * * * *', 'k')");
    sql.exec("SELECT haul._fire(clock_timestamp() + interval '2 s')");
    {
        waiting_worker worker(dsn);
        worker.work_until_idle();
    }
    sql.exec("DELETE FROM haul.my_replies WHERE id = (SELECT min(id) FROM haul.my_replies)");
    sql.exec("UPDATE haul.jobs SET run_at = now()");
    sql.exec("SELECT haul.checkout(haul.register_worker('silent'))");
    sql.exec("UPDATE haul.workers SET last_heartbeat_at = now() - interval '1 day'");
    sql.exec("SELECT haul._add_history(now() - interval '40 days')");
    sql.exec("SELECT haul.maintain(), haul.cleanup_workers('0')");
    sql.exec("DELETE FROM haul.cron");
    sql.exec("DELETE FROM haul.jobs");
    sql.exec("SELECT haul.maintain()");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workflows"), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.replies"), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.workers"), 0);
    sql.exec("DELETE FROM haul.finished_jobs");
    EXPECT_GT(sql.number("SELECT count(*) FROM pg_logical_slot_get_binary_changes('everything', NULL, NULL,"
                         " 'proto_version', '1', 'publication_names', 'everything')"),
              0);
    EXPECT_THAT(check(dsn, {"", "", false, true}), IsEmpty());
    sql.exec("SELECT pg_drop_replication_slot('everything')");
}

} // namespace
} // namespace haul::test
