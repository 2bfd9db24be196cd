// Somebody sets the clock.
#include "support/background.hpp"
#include "support/server_clock.hpp"

#include <gtest/gtest.h>

namespace haul::test {
namespace {

class cron_clock : public testing::Test {
protected:
    std::int64_t runs() { return database.number("SELECT count(*) FROM haul.cron_runs"); }

    void await_runs(std::int64_t count) {
        wait_until([&] { return runs() >= count; }, "there are " + std::to_string(count) + " runs");
    }

    server_clock clock;
    cluster server{{true, {}, nullptr, clock.environment()}};
    std::string dsn = server.create_database();
    session database{dsn};
};

TEST_F(cron_clock, set_back_no_tick_fires_again) {
    database.exec("INSERT INTO haul.cron (name, schedule, kind, overlap, misfire) VALUES"
                  " ('s', '1 second', 'k', 'allow', 'all')");
    await_runs(3);
    clock.set(-1h);
    ASSERT_TRUE(database.truth("SELECT max(run_at) > clock_timestamp() + '50 min' FROM haul.cron_runs"));
    const std::int64_t before = runs();
    const std::string next = database.text("SELECT next_run_at FROM haul.cron");
    expect_all_along([&] { return runs() == before; }, "nothing fires", 3s);
    EXPECT_EQ(database.text("SELECT next_run_at FROM haul.cron"), next);

    // One that is made now goes by the clock of now.
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap) VALUES ('new', '1 second', 'k', 'allow')");
    await_runs(before + 2);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.cron_runs WHERE name = 's'"), before);
    database.exec("DELETE FROM haul.cron WHERE name = 'new'");

    clock.set(0s);
    const auto fired = [&] {
        return database.number("SELECT count(*) FROM haul.cron_runs WHERE name = 's'");
    };
    wait_until([&] { return fired() >= before + 3; }, "it goes on when the clock gets there");
    database.exec("UPDATE haul.cron SET enabled = false");
    EXPECT_EQ(database.number("SELECT count(*) - extract(epoch FROM max(run_at) - min(run_at))::bigint"
                              " FROM haul.cron_runs WHERE name = 's'"),
              1);
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs WHERE cron_name = 's'"), fired());
}

TEST_F(cron_clock, set_forward_what_was_passed_over_was_missed) {
    database.exec(
        "INSERT INTO haul.cron (name, schedule, kind, overlap, misfire, misfire_limit) VALUES"
        " ('none', '@hourly', 'k', 'allow', 'none', 100), ('one', '@hourly', 'k', 'allow', 'one', 100),"
        " ('all', '@hourly', 'k', 'allow', 'all', 100), ('some', '@hourly', 'k', 'allow', 'all', 3)");
    await_served(database);
    wait_until([&] { return background_of(database).worker == 0; }, "the worker has left");
    // ten minutes past the hour, with half an hour to look around
    clock.set(
        std::chrono::seconds(database.number("SELECT ceil(extract(epoch FROM date_trunc('hour', "
                                             "clock_timestamp()) + '6 h 10 min' - clock_timestamp()))")));
    wait_until(
        [&] {
            return database.number("SELECT count(*) FROM haul.cron WHERE next_run_at > clock_timestamp()") ==
                   4;
        },
        "all schedules go on");
    EXPECT_EQ(
        database.exec("SELECT name, count(*), min(clock_timestamp() - run_at) < '1 h' FROM haul.cron_runs"
                      " GROUP BY name ORDER BY name"),
        (rows{{"all", "6", "t"}, {"one", "1", "t"}, {"some", "3", "t"}}));
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.jobs"), 10);
}

} // namespace
} // namespace haul::test
