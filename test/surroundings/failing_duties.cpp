// A duty of maintenance that cannot be done, because of what somebody did to the database, stops no other.
#include "support/background.hpp"
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/session.hpp"
#include "support/wait.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

class failing_duties : public testing::Test {
protected:
    void await(const std::string& condition) {
        wait_until([&] { return sql.truth("SELECT coalesce((" + condition + "), false)"); }, condition);
    }
    void await_expiry() {
        sql.exec("INSERT INTO haul.jobs (kind, queue, queue_timeout) VALUES ('late', 'late', '1 ms')");
        await("NOT EXISTS (SELECT FROM haul.jobs WHERE queue = 'late')");
    }

    cluster server{{true, {{"haul.maintenance_interval", "1s"}, {"haul.worker_timeout", "2s"}}}};
    std::string dsn = server.create_database();
    session sql{dsn};
};

TEST_F(failing_duties, is_logged_once_and_shown_until_it_is_done_again) {
    sql.exec(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$");
    log_watch log(server);
    sql.exec(
        "CREATE TRIGGER refuse BEFORE DELETE ON haul.replies FOR EACH STATEMENT EXECUTE FUNCTION refuse()");
    await_expiry();
    await("(SELECT last_error FROM haul.duties WHERE name = 'drop replies') = 'not today (P0001)'");
    for (int pass = 0; pass < 3; pass++)
        await_expiry();
    EXPECT_EQ(log.count("could not drop replies: not today"), 1) << log.text();
    EXPECT_EQ(log.count("exited with exit code 1"), 0) << log.text();
    sql.exec("DROP TRIGGER refuse ON haul.replies");
    await_expiry();
    await(
        "(SELECT last_error IS NULL AND failing_since IS NULL FROM haul.duties WHERE name = 'drop replies')");
}

// One job that cannot be ended or taken back is left as it is; all others have their turn.
TEST_F(failing_duties, one_job_that_raises_an_error_stops_no_other) {
    sql.exec(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF old.kind = 'bad' AND old.worker_id IS NULL = (TG_OP = 'DELETE') THEN RAISE 'not this one'; END "
        "IF;"
        " RETURN CASE TG_OP WHEN 'DELETE' THEN old ELSE new END; END $$;"
        "CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON haul.jobs FOR EACH ROW EXECUTE FUNCTION refuse()");
    log_watch log(server);
    sql.exec(
        "INSERT INTO haul.jobs (kind, queue, expires_at) SELECT CASE n WHEN 3 THEN 'bad' ELSE 'good' END,"
        " 'expires', now() FROM generate_series(1, 9) AS n");
    await("(SELECT count(*) FROM haul.jobs WHERE queue = 'expires') = 1");
    await(
        "(SELECT last_error FROM haul.duties WHERE name = 'expire jobs') LIKE 'job %: not this one (P0001)'");
    await("(SELECT failing_duties FROM haul.background) @> '{expire jobs}'");
    for (int pass = 0; pass < 3; pass++)
        await_expiry();
    EXPECT_EQ(log.count("could not expire jobs: job "), 1) << log.text();

    sql.exec("INSERT INTO haul.jobs (kind, queue) SELECT CASE n WHEN 3 THEN 'bad' ELSE 'good' END, 'held'"
             " FROM generate_series(1, 9) AS n");
    sql.exec("SELECT haul.checkout(haul.register_worker('w', '{\"queues\": [\"held\"]}'), 10)");
    await("(SELECT count(*) FROM haul.jobs WHERE queue = 'held' AND state = 'ready') = 8");
    EXPECT_EQ(sql.text("SELECT kind FROM haul.jobs WHERE queue = 'held' AND state = 'running'"), "bad");
    await_expiry();
    EXPECT_LE(log.count("not this one"), 6) << log.text();
    EXPECT_EQ(log.count("exited with exit code 1"), 0) << log.text();

    sql.exec("DROP TRIGGER refuse ON haul.jobs");
    await_expiry();
    await("NOT EXISTS (SELECT FROM haul.jobs WHERE queue = 'expires')");
    await("(SELECT count(*) FROM haul.jobs WHERE queue = 'held' AND state = 'ready') = 9");
    await("(SELECT failing_duties FROM haul.background) = '{}'");
    EXPECT_THAT(check(dsn), ::testing::IsEmpty());
}

// A row that came around the triggers cannot be a lane's; what else is to be done goes on.
TEST_F(failing_duties, a_queue_that_cannot_be_read_stops_no_maintenance) {
    await("(SELECT floors_open FROM haul.background)");
    session replicated(dsn);
    replicated.exec("SET session_replication_role = replica");
    replicated.exec("INSERT INTO haul.jobs (kind, queue) VALUES ('k', repeat('q', 300))");
    server.restart("fast");
    log_watch log(server);
    sql = session(dsn);
    await("(SELECT floors_open FROM haul.background)");
    await_expiry();
    await("(SELECT failing_duties FROM haul.background) @> '{survey lanes}'");
    EXPECT_EQ(log.count("exited with exit code 1"), 0) << log.text();
    sql.exec("DELETE FROM haul.jobs");
    sql.exec("VACUUM haul.jobs"); // the index still has the name
    await("(SELECT failing_duties FROM haul.background) = '{}'");
}

// Nobody waits for long: what is locked has its turn later.
TEST_F(failing_duties, a_lock_keeps_only_what_needs_it) {
    session locker(dsn);
    locker.exec("BEGIN");
    locker.exec("LOCK TABLE haul.replies IN ACCESS EXCLUSIVE MODE");
    await_expiry();
    await("(SELECT last_error FROM haul.duties WHERE name = 'drop replies') LIKE '%lock timeout (55P03)'");
    await_expiry();
    locker.exec("ROLLBACK");
    await_expiry();
    await("(SELECT last_error IS NULL FROM haul.duties WHERE name = 'drop replies')");
}

// One that called haul.maintain() and stays open has the journals, and nothing else.
TEST_F(failing_duties, an_idle_transaction_after_a_pass_stops_nobody) {
    sql.exec("SELECT haul.maintain()"); // partitions are there, so that none is made
    session idle(dsn);
    idle.exec("BEGIN");
    idle.exec("SELECT haul.maintain()");
    sql.exec("INSERT INTO haul.jobs (kind) VALUES ('k')");
    sql.exec("SELECT haul.checkout(haul.register_worker('silent'))");
    await_expiry();
    await("NOT EXISTS (SELECT FROM haul.workers WHERE lost_at IS NULL)");
    EXPECT_TRUE(sql.truth("SELECT haul.maintain() -> 'busy' ? 'fold counters'"));
    idle.exec("COMMIT");
    EXPECT_TRUE(sql.truth("SELECT (haul.maintain() -> 'ran')::boolean"));
}

} // namespace
} // namespace haul::test
