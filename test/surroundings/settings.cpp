// Settings that a database gives all of its sessions, and things that others did to the history, change
// nothing that we do.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/session.hpp"
#include "support/wait.hpp"
#include "support/waiting_worker.hpp"

#include <gtest/gtest.h>

namespace haul::test {
namespace {

class surrounding_settings : public testing::Test {
protected:
    void set_for_all(const std::string& setting) {
        session(dsn).exec("ALTER DATABASE haul_test SET " + setting);
    }

    cluster server{{true, {{"haul.maintenance_interval", "1s"}, {"haul.worker_timeout", "1s"}}}};
    std::string dsn = server.create_database();
};

// What it reads as strings decides which partitions it drops.
TEST_F(surrounding_settings, strings_with_backslashes_drop_no_history) {
    session sql(dsn);
    if (sql.number("SHOW server_version_num") < 190000) // since then there are no others
        set_for_all("standard_conforming_strings = off");
    server.restart();
    sql = session(dsn);
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 10)");
    waiting_worker worker(dsn);
    EXPECT_EQ(worker.work_until_idle(), 10);
    sql.exec("SELECT haul.maintain()");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs"), 10);
}

TEST_F(surrounding_settings, partitions_of_others_stay) {
    session sql(dsn);
    sql.exec("SELECT haul._add_history(now() - interval '40 days')");
    sql.exec("CREATE TABLE haul.job_errors_20200101 (LIKE haul.job_errors)");
    sql.exec("CREATE TABLE haul.archive (LIKE haul.finished_jobs)");
    sql.exec("ALTER TABLE haul.job_errors ATTACH PARTITION haul.job_errors_20200101"
             " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')");
    sql.exec("ALTER TABLE haul.finished_jobs ATTACH PARTITION haul.archive"
             " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')");
    sql.exec("CREATE TABLE haul.job_errors_default PARTITION OF haul.job_errors DEFAULT");
    EXPECT_GE(sql.number("SELECT haul.maintain() -> 'partitions_dropped'"), 2);
    EXPECT_EQ(sql.number("SELECT count(*) FROM pg_class WHERE relispartition AND relname IN"
                         " ('job_errors_20200101', 'archive', 'job_errors_default')"),
              3);
}

// Of the owner's functions, and of the background worker, all triggers fire.
TEST_F(surrounding_settings, replica_role_keeps_no_job_at_a_dead_worker) {
    session sql(dsn);
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
    sql.exec("INSERT INTO haul.cron (name, schedule, kind) VALUES ('c', '* * * * *', 'k')");
    set_for_all("session_replication_role = replica");
    server.restart();
    session odd(dsn);
    const std::string leaving = odd.text("SELECT haul.register_worker('leaving')");
    EXPECT_EQ(odd.exec("SELECT haul.checkout($1, 1)", {leaving}).size(), 1u);
    EXPECT_EQ(odd.number("SELECT haul.unregister_worker($1)", {leaving}), 1);
    EXPECT_EQ(odd.exec("SELECT haul.checkout(haul.register_worker('silent'), 2)").size(), 2u);
    odd.exec("SELECT haul.cleanup_workers('0')");
    EXPECT_EQ(odd.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'"), 0);
    odd.exec("SELECT haul._fire(clock_timestamp() + interval '1 min')");
    EXPECT_GE(odd.number("SELECT count(*) FROM haul.jobs WHERE cron_name = 'c' AND enqueued_by = 'postgres'"),
              1);
}

// The background worker is no session of anybody's role, and no client whose transactions take too long.
TEST_F(surrounding_settings, background_worker_is_nobodys_session) {
    bool newer = false;
    {
        session sql(dsn);
        newer = sql.truth("SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'transaction_timeout')");
        sql.exec("CREATE ROLE nobody");
        for (const char* setting : {"role = nobody", "default_transaction_read_only = on",
                                    "statement_timeout = '1 ms'", "lock_timeout = '1 ms'",
                                    "idle_in_transaction_session_timeout = '1 ms'", "datestyle = 'SQL, DMY'"})
            sql.exec(std::string("ALTER DATABASE haul_test SET ") + setting);
        if (newer)
            sql.exec("ALTER DATABASE haul_test SET transaction_timeout = '1 ms'");
    }
    server.restart();
    log_watch log(server);
    session sql(dsn +
                " options='-c role=none -c default_transaction_read_only=off -c statement_timeout=0"
                " -c lock_timeout=0 -c idle_in_transaction_session_timeout=0" +
                (newer ? " -c transaction_timeout=0'" : "'"));
    sql.exec("INSERT INTO haul.jobs (kind, queue_timeout) VALUES ('k', '1 ms')");
    wait_until([&] { return sql.number("SELECT count(*) FROM haul.finished_jobs") == 1; },
               "the job was discarded");
    EXPECT_EQ(log.count("pg_haul worker"), 0) << log.text();
}

// New parts of the history are made like the whole, not as the session has it.
TEST_F(surrounding_settings, history_is_made_like_the_whole) {
    session sql(dsn);
    sql.exec("CREATE ROLE reader");
    sql.exec("CREATE ROLE stranger");
    sql.exec("GRANT SELECT ON haul.finished_jobs TO reader");
    sql.exec("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, stranger");
    sql.exec("SET allow_in_place_tablespaces = on");
    sql.exec("CREATE TABLESPACE elsewhere LOCATION ''");
    sql.exec("SET default_tablespace = elsewhere");
    sql.exec("CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler");
    sql.exec("SET default_table_access_method = other");
    sql.exec("SELECT haul._add_history(now() + interval '10 days')");
    const std::string leaves =
        " FROM pg_partition_tree('haul.finished_jobs') AS t JOIN pg_class AS c ON c.oid = t.relid";
    EXPECT_EQ(sql.number("SELECT count(DISTINCT (c.reltablespace, c.relacl::text))" + leaves), 1);
    EXPECT_EQ(sql.number("SELECT count(DISTINCT c.relam)" + leaves + " WHERE t.isleaf"), 1);
    EXPECT_GE(sql.number("SELECT count(*)" + leaves + " WHERE t.isleaf"), 2);
    EXPECT_TRUE(sql.truth("SELECT bool_and(NOT has_table_privilege('stranger', c.oid, 'SELECT')"
                          " AND has_table_privilege('reader', c.oid, 'SELECT'))" +
                          leaves));
}

} // namespace
} // namespace haul::test
