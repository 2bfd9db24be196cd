// A duty of maintenance that cannot be done, because of what somebody did to the database, stops no other.
#include "support/background.hpp"
#include "support/cluster.hpp"
#include "support/session.hpp"
#include "support/wait.hpp"

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
