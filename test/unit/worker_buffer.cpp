#include "buffer.hpp"
#include "support/checkout_rows.hpp"
#include "support/wait.hpp"

#include <gtest/gtest.h>
#include <set>
#include <thread>

namespace {

using namespace haul::core;
using namespace haul::test;
using namespace std::chrono_literals;

std::unique_ptr<batch> jobs(std::int64_t first, std::int64_t count) {
    std::vector<checkout_row> rows;
    for (std::int64_t id = first; id < first + count; ++id)
        rows.push_back({id});
    return make_batch(rows);
}

TEST(worker_buffer, gives_jobs_in_order_across_batches) {
    event wake;
    buffer ahead{wake};
    const auto one = jobs(1, 2), two = jobs(3, 2);
    ahead.push(*one);
    ahead.push(*two);
    for (std::int64_t id = 1; id <= 4; ++id)
        EXPECT_EQ(ahead.take(id > 1, 0ms)->id(), id);
    EXPECT_EQ(ahead.take(true, 0ms), nullptr);
    EXPECT_EQ(ahead.state().started, 4u);
    EXPECT_EQ(ahead.state().busy, 0u);
}

TEST(worker_buffer, an_empty_batch_is_nothing) {
    event wake;
    buffer ahead{wake};
    const auto none = jobs(1, 0);
    ahead.push(*none);
    EXPECT_EQ(ahead.take(false, 0ms), nullptr);
}

TEST(worker_buffer, room_is_idle_threads_and_what_may_lie_ahead) {
    event wake;
    buffer ahead{wake};
    EXPECT_EQ(ahead.room(4, 0), 4u);
    EXPECT_EQ(ahead.room(4, 10), 14u);
    const auto ten = jobs(1, 10);
    ahead.push(*ten);
    EXPECT_EQ(ahead.room(4, 10), 0u) << "more than half of what may lie ahead is there";
    for (int i = 0; i < 5; ++i)
        ASSERT_NE(ahead.take(i > 0, 0ms), nullptr);
    EXPECT_EQ(ahead.room(4, 10), 14u - 5 - 1);
    EXPECT_EQ(ahead.room(4, 0), 0u) << "slow jobs: nothing is fetched ahead of busy threads";
}

TEST(worker_buffer, wakes_the_fetcher_when_room_appears) {
    event wake;
    buffer ahead{wake};
    const auto two = jobs(1, 2);
    ahead.push(*two);
    ASSERT_EQ(ahead.room(1, 0), 0u);
    ahead.take(false, 0ms);
    EXPECT_FALSE(wake.is_set()) << "one job runs on the only thread, one waits";
    ahead.take(true, 0ms);
    EXPECT_FALSE(wake.is_set());
    ahead.take(true, 0ms);
    EXPECT_TRUE(wake.is_set());
}

TEST(worker_buffer, does_not_wake_the_fetcher_unasked) {
    event wake;
    buffer ahead{wake};
    const auto one = jobs(1, 1);
    ahead.push(*one);
    ahead.take(false, 0ms);
    ahead.take(true, 0ms);
    EXPECT_FALSE(wake.is_set());
}

TEST(worker_buffer, withdraw_takes_out_what_no_thread_has) {
    event wake;
    buffer ahead{wake};
    const auto one = jobs(1, 2), two = jobs(3, 1);
    ahead.push(*one);
    ahead.push(*two);
    ahead.take(false, 0ms);
    const auto rest = ahead.withdraw();
    ASSERT_EQ(rest.size(), 2u);
    EXPECT_EQ(rest[0]->id(), 2);
    EXPECT_EQ(rest[1]->id(), 3);
    EXPECT_EQ(ahead.take(true, 0ms), nullptr);
}

TEST(worker_buffer, close_ends_every_wait) {
    event wake;
    buffer ahead{wake};
    std::thread waiting{[&] { EXPECT_EQ(ahead.take(false, 1h), nullptr); }};
    wait_until([&] { return ahead.state().idle == 1; }, "the thread waits");
    ahead.close();
    waiting.join();
    EXPECT_TRUE(ahead.is_closed());
}

TEST(worker_buffer, every_job_goes_to_exactly_one_of_many_threads) {
    event wake;
    buffer ahead{wake};
    constexpr std::int64_t count = 5000;
    std::mutex mutex;
    std::multiset<std::int64_t> seen;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (bool finished = false;; finished = true) {
                job* taken = ahead.take(finished, 1h);
                if (!taken)
                    return;
                const std::lock_guard lock{mutex};
                seen.insert(taken->id());
            }
        });
    }
    std::vector<std::unique_ptr<batch>> batches;
    for (std::int64_t id = 0; id < count; id += 100)
        ahead.push(*batches.emplace_back(jobs(id, 100)));
    wait_until([&] { return ahead.state().started == count && ahead.state().busy == 0; },
               "all jobs are taken");
    ahead.close();
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(count));
    EXPECT_EQ(std::set<std::int64_t>(seen.begin(), seen.end()).size(), static_cast<std::size_t>(count));
}

TEST(worker_in_flight, keeps_a_batch_until_all_its_jobs_are_settled) {
    in_flight all;
    auto& first = all.add(jobs(1, 2));
    EXPECT_EQ(all.snapshot().ids, (std::vector<std::int64_t>{1, 2}));
    first[0].settle();
    EXPECT_EQ(all.snapshot().ids, (std::vector<std::int64_t>{2}));
    EXPECT_FALSE(all.empty());
    first[1].settle();
    EXPECT_TRUE(all.empty());
    all.add(jobs(3, 1)); // frees the first
    EXPECT_EQ(all.snapshot().ids, (std::vector<std::int64_t>{3}));
    EXPECT_EQ(all.snapshot().numbers, (std::vector<std::int32_t>{1}));
}

} // namespace
