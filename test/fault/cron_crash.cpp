// The server crashes, or a standby takes over, between ticks and at them: each fires once.
#include "support/background.hpp"
#include "support/checker.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

void schedule_every_second(session& database) {
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('s', '* * * * * *', 'k', 'allow')");
}

void await_more_runs(session& database, int count) {
    const auto last = [&] { return database.number("SELECT coalesce(max(id), 0) FROM haul.cron_runs"); };
    const std::int64_t before = last();
    wait_until([&] { return last() >= before + count; }, std::to_string(count) + " more ticks have fired");
}

// From the first tick to the last, none is missing: nobody was away for longer than the grace.
void expect_every_second_once(session& database) {
    EXPECT_EQ(
        database.number(
            "SELECT count(*) - extract(epoch FROM max(run_at) - min(run_at))::bigint FROM haul.cron_runs"),
        1);
    EXPECT_EQ(
        database.number("SELECT count(*) FROM haul.cron_runs AS r FULL JOIN haul.jobs AS j"
                        " ON j.id = r.job_id AND j.run_at = r.run_at WHERE r.id IS NULL OR j.id IS NULL"),
        0);
}

TEST(cron_crash, fires_each_tick_once) {
    cluster server{{true, {{"haul.misfire_grace", "10min"}}}};
    const std::string dsn = server.create_database();
    {
        session database(dsn);
        schedule_every_second(database);
        await_more_runs(database, 1);
    }
    for (int crash = 0; crash < 6; ++crash) {
        session database(dsn);
        await_more_runs(database, 2);
        // just when a tick fires, or has fired
        await_more_runs(database, 1);
        if (crash % 2 == 0)
            server.restart("immediate");
        else {
            server.kill();
            server.start();
        }
    }
    session database(dsn);
    await_more_runs(database, 3);
    database.exec("UPDATE haul.cron SET enabled = false");
    expect_every_second_once(database);
    EXPECT_THAT(check(dsn), IsEmpty());
}

TEST(cron_standby, promoted_it_goes_on_with_the_next_tick) {
    auto primary = std::make_unique<cluster>(cluster_options{true, {{"haul.misfire_grace", "10min"}}});
    const std::string dsn = primary->create_database("haul_test");
    cluster standby{{true, {}, primary.get()}};
    {
        session database(dsn), copy(standby.dsn("haul_test"));
        schedule_every_second(database);
        await_more_runs(database, 2);
        await_more_runs(copy, 2); // which has them from the primary
        const std::int64_t seen = copy.number("SELECT count(*) FROM haul.cron_runs");
        EXPECT_EQ(copy.number("SELECT count(DISTINCT run_at) FROM haul.cron_runs"), seen);
    }
    primary->stop("immediate");
    session database(standby.dsn("haul_test"));
    EXPECT_TRUE(database.truth("SELECT pg_promote()"));
    await_more_runs(database, 3);
    database.exec("UPDATE haul.cron SET enabled = false");
    expect_every_second_once(database);
    EXPECT_THAT(check(standby.dsn("haul_test")), IsEmpty());
}

} // namespace
} // namespace haul::test
