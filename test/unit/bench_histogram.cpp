#include "bench/adapter/histogram.hpp"

#include <gtest/gtest.h>

namespace {

using haul::bench::histogram;
using namespace std::chrono_literals;

TEST(bench_histogram, has_three_significant_figures) {
    for (const auto duration : std::initializer_list<std::chrono::microseconds>{
             1us, 999us, 1023us, 1024us, 2047us, 2048us, 4097us, 123456us, 59s, 3599s}) {
        histogram recorded{30s};
        recorded.record(duration);
        const double milliseconds = std::chrono::duration<double, std::milli>{duration}.count();
        EXPECT_NEAR(recorded.recent().p50, milliseconds, milliseconds / 1000);
    }
}

TEST(bench_histogram, tells_percentiles) {
    histogram recorded{30s};
    for (int i = 1; i <= 1000; ++i)
        recorded.record(std::chrono::milliseconds{i});
    const auto recent = recorded.recent();
    EXPECT_NEAR(recent.p50, 500, 1);
    EXPECT_NEAR(recent.p95, 950, 1);
    EXPECT_NEAR(recent.p99, 990, 1);
}

TEST(bench_histogram, takes_durations_beyond_its_range) {
    histogram recorded{30s};
    recorded.record(-5s);
    EXPECT_EQ(recorded.recent().p99, 0);
    recorded.record(24h);
    EXPECT_GT(recorded.recent().p99, 3'600'000);
}

TEST(bench_histogram, has_zeros_when_nothing_was_recorded) {
    EXPECT_EQ(histogram{30s}.recent().p50, 0);
}

} // namespace
