// The server crashes under load; the workers find their way back, and each job ends exactly once.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"
#include "support/workload.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class server_crash : public ::testing::TestWithParam<work> {};

INSTANTIATE_TEST_SUITE_P(, server_crash, ::testing::Values(work::effect, work::noop),
                         [](const auto& info) { return info.param == work::effect ? "effect" : "noop"; });

TEST_P(server_crash, under_load_loses_and_doubles_nothing) {
    cluster server;
    const std::string dsn = server.create_database();
    workload load(dsn, GetParam());
    worker_process one(dsn, workload::yaml(), {"--identifier", "one", "--threads", "1:3"});
    worker_process two(dsn, workload::yaml(), {"--identifier", "two", "--threads", "1:3"});
    producer producing(dsn, GetParam());

    const auto work_goes_on = [&] {
        const std::int64_t before = load.completed();
        wait_until([&] { return load.completed() >= before + 100; }, "100 more jobs have completed");
    };
    session before(dsn);
    wait_until([&] { return before.number("SELECT count(DISTINCT worker_id) FROM haul.finished_jobs") == 2; },
               "both workers are at work");
    for (int crash = 0; crash < 4; ++crash) {
        work_goes_on();
        server.restart("immediate");
    }
    work_goes_on();
    producing.stop();

    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    // A server that goes away is not the jobs' failure.
    session database(dsn);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs WHERE state <> 'completed'"), 0);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.job_errors"), 0);
    EXPECT_TRUE(one->running()) << one->errors();
    EXPECT_TRUE(two->running()) << two->errors();
    one->signal(SIGTERM);
    two->signal(SIGTERM);
    EXPECT_EQ(one->wait(), 0) << one->errors();
    EXPECT_EQ(two->wait(), 0) << two->errors();
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.workers"), 0);
}

// Checkouts are committed without waiting for the disk. With a lazy WAL writer, and nobody else at work, such
// a commit is lost in a crash.
class lost_claim : public ::testing::Test {
protected:
    lost_claim() {
        session database(dsn);
        database.exec("INSERT INTO haul.jobs (kind) SELECT 'k' FROM generate_series(1, 3)");
        worker = database.text("SELECT haul.register_worker('w')");
        database.exec("SET synchronous_commit = off");
        const row token =
            database.exec("SELECT array_agg(id), array_agg(claim) FROM haul.checkout($1, 2)", {worker})[0];
        ids = *token[0];
        claims = *token[1];
        server.restart("immediate");
        session after(dsn);
        if (after.number("SELECT count(*) FROM haul.jobs WHERE claim = 0 AND state = 'ready'") != 3)
            throw std::logic_error("the claims were not lost");
    }

    // The same jobs, under claims that nobody ever had.
    std::string check_out_again(session& database, const std::string& by) const {
        const row token = database.exec(
            "SELECT array_agg(id), array_agg(claim), min(claim) FROM haul.checkout($1, 2)", {by})[0];
        EXPECT_EQ(*token[0], ids);
        EXPECT_TRUE(database.truth("SELECT $1 > max(claim) FROM unnest($2::integer[]) AS claim",
                                   {*token[2], claims}));
        return *token[1];
    }

    cluster server{
        {true, {{"wal_writer_delay", "10s"}, {"autovacuum", "off"}, {"haul.databases", "nowhere"}}}};
    std::string dsn = server.create_database();
    std::string worker, ids, claims;
};

TEST_F(lost_claim, its_completion_is_accepted_and_counted) {
    session database(dsn);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, claims}), "{}");
    EXPECT_EQ(
        database.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed' AND claim = 1"),
        2);
    EXPECT_EQ(database.number("SELECT sum(dispatches) FROM haul.counters"), 2);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(lost_claim, cannot_fail_and_is_ready_anyway) {
    session database(dsn);
    EXPECT_EQ(database.get("SELECT haul.fail($1, ($2::bigint[])[1], ($3::integer[])[1], 'no luck')",
                           {worker, ids, claims}),
              std::nullopt);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND attempt = 0"), 3);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(lost_claim, belongs_to_whoever_checked_out_since) {
    session database(dsn);
    const std::string other = database.text("SELECT haul.register_worker('other')");
    const std::string now = check_out_again(database, other);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, claims}), ids);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {other, ids, claims}), ids);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {other, ids, now}), "{}");
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(lost_claim, of_a_worker_that_is_gone_is_not_its_own) {
    session database(dsn);
    database.exec("DELETE FROM haul.workers");
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, claims}), ids);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 3);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST_F(lost_claim, handed_out_again_to_the_same_worker_ends_once) {
    session database(dsn);
    const std::string now = check_out_again(database, worker);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, claims}), ids);
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, now}), "{}");
    EXPECT_EQ(database.text("SELECT haul.complete($1, $2, $3)", {worker, ids, now}), ids);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.finished_jobs"), 2);
    EXPECT_THAT(check(dsn), IsEmpty());
}

// Lost twice, it is handed out under a third claim: the jobs themselves remember nothing of either.
TEST_F(lost_claim, is_never_handed_out_again_after_any_number_of_crashes) {
    for (int crash = 0; crash < 2; ++crash) {
        {
            session database(dsn);
            database.exec("SET synchronous_commit = off");
            claims = check_out_again(database, worker);
        }
        server.restart("immediate");
        session after(dsn);
        ASSERT_EQ(after.number("SELECT count(*) FROM haul.jobs WHERE claim = 0 AND state = 'ready'"), 3);
    }
    session database(dsn);
    (void)check_out_again(database, worker);
    server.restart("fast");
    session orderly(dsn);
    const std::int64_t last = orderly.number("SELECT max(claim) FROM haul.jobs");
    EXPECT_EQ(orderly.number("SELECT claim FROM haul.checkout($1)", {worker}), last)
        << "no gap without a crash";
}

// Its id would be another worker's.
TEST_F(lost_claim, leaves_the_worker_that_registered_just_before) {
    std::string id;
    {
        session database(dsn);
        database.exec("SET synchronous_commit = off");
        id = database.text("SELECT haul.register_worker('just before')");
    }
    server.restart("immediate");
    session after(dsn);
    EXPECT_EQ(after.number("SELECT count(*) FROM haul.workers WHERE id = $1", {id}), 1);
    EXPECT_GT(after.number("SELECT haul.register_worker('after')"), std::stoll(id));
}

TEST_F(lost_claim, has_nothing_to_give_back) {
    session database(dsn);
    EXPECT_EQ(database.number("SELECT haul.reconcile($1, '{}', '{}')", {worker}), 0);
    EXPECT_EQ(database.text("SELECT haul.release($1, $2, $3, false)", {worker, ids, claims}), ids);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND attempt = 0"), 3);
    EXPECT_THAT(check(dsn), IsEmpty());
}

} // namespace
} // namespace haul::test
