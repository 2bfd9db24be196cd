// Jobs that are short as they are stored and long as text, all of them within the limit.
#include "support/cluster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

// Together they would be more than a value can hold.
TEST(long_values, a_long_poll_returns_as_many_jobs_as_fit) {
    cluster server;
    session database(server.create_database());
    database.exec(
        "INSERT INTO haul.jobs (kind, args) SELECT 'k', '{\"a\": [1e131071, 1e131071, 1e131071, 1e131071, "
        "1e131071, 1e131071, 1e131071]}' FROM generate_series(1, 120)");
    const std::string worker = database.text("SELECT haul.register_worker('w')");

    std::int64_t calls = 0;
    for (std::int64_t jobs = 0; jobs < 120; ++calls) {
        const std::string got = database.text("CALL haul.checkout_wait(" + worker + ", 1000, '0')");
        EXPECT_LT(got.size(), 64U << 20U);
        const std::int64_t now = database.number("SELECT count(*) FROM haul.jobs WHERE state = 'running'");
        ASSERT_GT(now, jobs);
        jobs = now;
    }
    EXPECT_GT(calls, 2);
    // None of these is held back by that.
    EXPECT_EQ(database.number("SELECT count(*) FROM haul.counters WHERE drops > 0"), 0);
}

} // namespace
} // namespace haul::test
