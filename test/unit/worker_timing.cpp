#include "drain.hpp"
#include "fetch_schedule.hpp"
#include "pause.hpp"
#include "prefetch.hpp"
#include "trouble.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace {

using namespace haul::core;
using namespace std::chrono_literals;

const steady_time start = steady_time{} + 1h;

TEST(worker_reconnect_pause, stays_within_limits_that_grow_to_the_longest) {
    auto limit = reconnect_pause::first;
    reconnect_pause pause{1};
    for (int attempt = 0; attempt < 20; ++attempt) {
        const auto now = start + attempt * 1s;
        const auto drawn = pause.next(now);
        EXPECT_GE(drawn, 0ms);
        EXPECT_LE(drawn, limit) << "attempt " << attempt;
        limit =
            std::min(2 * limit, now - start < reconnect_pause::at_first ? reconnect_pause::longest_at_first
                                                                        : reconnect_pause::longest);
    }
}

TEST(worker_reconnect_pause, is_drawn_from_the_whole_range) {
    reconnect_pause pause{7};
    for (int attempt = 0; attempt < 12; ++attempt)
        pause.next(start + attempt * 1s);
    int low = 0, high = 0;
    for (int i = 0; i < 300; ++i) {
        const auto drawn = pause.next(start + 1min);
        low += drawn < reconnect_pause::longest / 4;
        high += drawn > reconnect_pause::longest * 3 / 4;
    }
    EXPECT_GT(low, 30);
    EXPECT_GT(high, 30);
}

TEST(worker_reconnect_pause, is_short_again_only_after_a_healthy_second) {
    const auto longest_of = [](steady_time lost) {
        auto longest = 0ms;
        for (std::uint64_t seed = 0; seed < 50; ++seed) {
            reconnect_pause pause{seed};
            for (int attempt = 0; attempt < 10; ++attempt)
                pause.next(start);
            pause.succeeded(start);
            longest = std::max(longest, pause.next(lost));
        }
        return longest;
    };
    EXPECT_GT(longest_of(start + 900ms), reconnect_pause::first);
    EXPECT_LE(longest_of(start + 1s), reconnect_pause::first);
}

TEST(worker_jitter, varies_by_half_the_fraction_to_either_side) {
    std::mt19937_64 random{3};
    auto least = 1h + 0ms, most = 0ms;
    for (int i = 0; i < 2000; ++i) {
        const auto drawn = jittered(60s, 0.1, random);
        least = std::min(least, drawn);
        most = std::max(most, drawn);
    }
    EXPECT_GE(least, 57s);
    EXPECT_LE(most, 63s);
    EXPECT_LT(least, 57300ms);
    EXPECT_GT(most, 62700ms);
    EXPECT_EQ(jittered(60s, 0, random), 60s);
}

TEST(worker_prefetch, fetches_nothing_ahead_of_slow_jobs) {
    prefetch ahead{1000};
    auto now = start;
    std::uint64_t started = 0;
    for (int i = 0; i < 50; ++i)
        EXPECT_EQ(ahead.observe(now += 1s, started += 2), 0u);
}

TEST(worker_prefetch, fetches_some_milliseconds_of_fast_jobs_and_stops_when_they_stall) {
    prefetch ahead{1000};
    auto now = start;
    std::uint64_t started = 0;
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i)
        most = ahead.observe(now += 1ms, started += 10); // 10 000 a second
    EXPECT_NEAR(static_cast<double>(most), 200, 10);
    for (int i = 0; i < 100; ++i)
        most = ahead.observe(now += 1ms, started += 1000);
    EXPECT_EQ(most, 1000u) << "the limit";
    EXPECT_EQ(ahead.observe(now + 1s, started), 0u);
}

class schedule : public testing::Test {
protected:
    fetch_schedule when{60s, 0.1};
    steady_time now = start;

    void expect_quiet_until(std::chrono::milliseconds delay) {
        EXPECT_FALSE(when.should_look(now + delay - 1ms));
        EXPECT_TRUE(when.should_look(now + delay));
    }
};

TEST_F(schedule, looks_at_once_at_the_start_and_after_a_full_answer) {
    EXPECT_TRUE(when.should_look(now));
    when.looked(now, 10, 10);
    EXPECT_TRUE(when.should_look(now));
    EXPECT_FALSE(when.wake_at());
    when.looked(now, 10, 9);
    EXPECT_FALSE(when.should_look(now));
}

TEST_F(schedule, looks_again_when_told_to) {
    when.looked(now, 10, 0);
    when.look_now();
    EXPECT_TRUE(when.should_look(now));
}

TEST_F(schedule, asks_once_for_the_next_job_when_it_is_quiet) {
    when.looked(now, 10, 3);
    EXPECT_FALSE(when.should_ask_next_due(now)) << "under load the answer is of no use";
    EXPECT_TRUE(when.should_ask_next_due(now + 10ms));
    when.next_due(now, 7s);
    EXPECT_FALSE(when.should_ask_next_due(now + 10ms));
    EXPECT_EQ(*when.wake_at(), now + 7s);
    expect_quiet_until(7s);
}

TEST_F(schedule, polls_when_nothing_is_to_come) {
    when.looked(now, 10, 0);
    when.next_due(now, std::nullopt);
    EXPECT_GE(*when.wake_at(), now + 57s);
    EXPECT_LE(*when.wake_at(), now + 63s);
    EXPECT_TRUE(when.should_look(now + 63s));
}

TEST_F(schedule, slows_down_while_a_job_that_is_due_cannot_be_had) {
    std::chrono::nanoseconds before{0};
    for (int i = 0; i < 10; ++i) {
        when.looked(now, 10, 0);
        when.next_due(now, 0us);
        const auto pause = *when.wake_at() - now;
        EXPECT_GE(pause, before);
        EXPECT_GE(pause, 10ms);
        EXPECT_LE(pause, 2s);
        before = pause;
    }
    EXPECT_GE(before, 1s);
    when.looked(now, 10, 1);
    when.next_due(now, 0us);
    EXPECT_LT(*when.wake_at() - now, 50ms) << "quick again after a success";
}

TEST(worker_drain, for_ever_means_until_somebody_kills) {
    drain end{{haul::termination::mode::wait_forever, 0ms}, true};
    end.begin(start);
    EXPECT_EQ(end.level(start + 24h), cancellation::level::none);
    EXPECT_FALSE(end.give_up(start + 24h));
    EXPECT_FALSE(end.wake_at(start));
    end.kill(start, cancellation::level::force);
    EXPECT_EQ(end.level(start), cancellation::level::force);
    EXPECT_FALSE(end.give_up(start));
    EXPECT_TRUE(end.give_up(start + 2s));
}

TEST(worker_drain, limited_kills_in_time_and_gives_up_after_a_grace) {
    drain end{{haul::termination::mode::limited, 5s}, true};
    end.begin(start);
    EXPECT_EQ(end.level(start + 5s - 1ms), cancellation::level::none);
    EXPECT_EQ(*end.wake_at(start), start + 5s);
    EXPECT_EQ(end.level(start + 5s), cancellation::level::worker);
    EXPECT_FALSE(end.give_up(start + 14s));
    EXPECT_TRUE(end.give_up(start + 15s));
}

TEST(worker_drain, a_missing_database_is_waited_for_as_long_as_it_may_come_back) {
    drain end{{haul::termination::mode::wait_forever, 0ms}, true};
    end.begin(start);
    end.only_database_missing(true, start);
    end.only_database_missing(true, start + 9s);
    EXPECT_EQ(*end.wake_at(start + 9s), start + 10s);
    EXPECT_FALSE(end.give_up(start + 9s));
    EXPECT_TRUE(end.give_up(start + 10s));
    end.only_database_missing(false, start + 10s);
    EXPECT_FALSE(end.give_up(start + 24h));
    EXPECT_FALSE(end.wake_at(start + 24h));
}

TEST(worker_trouble, is_logged_at_intervals_that_double) {
    trouble what;
    std::vector<int> logged;
    for (int second = 0; second < 130; ++second) {
        if (what.happened(start + std::chrono::seconds{second}))
            logged.push_back(second);
    }
    EXPECT_EQ(logged, (std::vector{0, 1, 3, 7, 15, 31, 63, 127}));
    EXPECT_EQ(what.age(start + 130s), 130s);
}

TEST(worker_trouble, pauses_grow_to_the_longest) {
    trouble what;
    auto pause = trouble::shortest;
    for (int i = 0; i < 20; ++i) {
        what.happened(start);
        EXPECT_EQ(what.pause(), pause);
        pause = std::min(2 * pause, trouble::longest);
    }
}

TEST(worker_trouble, begins_anew_when_it_was_over_or_is_forgotten) {
    trouble what;
    what.happened(start);
    what.happened(start + 1ms);
    what.over();
    EXPECT_FALSE(what.lasts());
    EXPECT_TRUE(what.happened(start + 2ms));
    EXPECT_EQ(what.pause(), trouble::shortest);
    EXPECT_TRUE(what.happened(start + 1h));
    EXPECT_EQ(what.pause(), trouble::shortest);
    EXPECT_EQ(what.age(start + 1h), 0ms);
}

TEST(worker_drain, abandon_neither_waits_nor_kills_unless_the_process_goes_on) {
    drain program{{haul::termination::mode::abandon, 0ms}, true};
    program.begin(start);
    EXPECT_TRUE(program.give_up(start));
    EXPECT_EQ(program.level(start), cancellation::level::none);
    drain embedded{{haul::termination::mode::abandon, 0ms}, false};
    embedded.begin(start);
    EXPECT_EQ(embedded.level(start), cancellation::level::worker);
}

} // namespace
