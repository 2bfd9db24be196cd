#include "executor.hpp"
#include "pool.hpp"
#include "support/checkout_rows.hpp"
#include "support/wait.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>
#include <sys/resource.h>

namespace {

using namespace haul::core;
using namespace haul::test;
using namespace std::chrono_literals;

/// Keeps what the executor reports.
class recorder final : public report_sink {
public:
    void report(job& what, ending how) override {
        const std::lock_guard lock{mutex};
        endings.emplace_back(what.id(), std::move(how));
    }
    void progress(const job&, std::string json) override { progress_values.push_back(std::move(json)); }
    bool confirm_start(job&) override {
        ++confirmations;
        return owned;
    }

    std::chrono::milliseconds refused(const job&, const haul::error&) override { return 1s; }

    std::mutex mutex;
    std::vector<std::pair<std::int64_t, ending>> endings;
    std::vector<std::string> progress_values;
    int confirmations = 0;
    bool owned = true;
};

class worker_executor : public testing::Test {
protected:
    /// Runs a job of kind "k" with the handler and returns its ending.
    ending run(haul::handler function, checkout_row row = {}) {
        row.kind = "k";
        handlers = registry{};
        handlers.add("k", std::move(function));
        jobs = make_batch({row});
        runs.run((*jobs)[0]);
        return std::move(reports.endings.back().second);
    }

    template <typename Ending>
    Ending run_to(haul::handler function, checkout_row row = {}) {
        auto how = run(std::move(function), std::move(row));
        if (const auto* found = std::get_if<Ending>(&how))
            return *found;
        ADD_FAILURE() << "the ending is number " << how.index();
        return {};
    }

    spdlog::logger log{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
    registry handlers;
    recorder reports;
    std::unique_ptr<batch> jobs;
    canceller statements;
    executor runs{handlers, reports, thread_connection{"", "test"}, statements, log};
};

TEST_F(worker_executor, outcomes_returned) {
    EXPECT_EQ(run_to<haul::completed>([](auto&) { return haul::completed{{{"a", 1}}}; }).result, "{\"a\":1}");
    EXPECT_EQ(run_to<haul::completed>([](auto&) { return haul::completed{}; }).result, "");
    EXPECT_EQ(run_to<haul::retry>([](auto&) { return haul::retry{"e", 3s, "other"}; }).queue, "other");
    EXPECT_EQ(run_to<haul::fail_for_good>([](auto&) { return haul::fail_for_good{"e"}; }).error, "e");
    EXPECT_EQ(run_to<haul::discard>([](auto&) { return haul::discard{"r"}; }).reason, "r");
    EXPECT_EQ(run_to<haul::cancel>([](auto&) { return haul::cancel{"r"}; }).reason, "r");
    EXPECT_EQ(run_to<haul::snooze>([](auto&) { return haul::snooze{3s}; }).delay, 3s);
}

TEST_F(worker_executor, outcomes_thrown) {
    EXPECT_EQ(
        run_to<haul::completed>([](auto&) -> haul::outcome { throw haul::completed::with_text("1"); }).result,
        "1");
    EXPECT_EQ(run_to<haul::retry>([](auto&) -> haul::outcome { throw haul::retry{"e", 3s}; }).delay, 3s);
    EXPECT_EQ(
        run_to<haul::fail_for_good>([](auto&) -> haul::outcome { throw haul::fail_for_good{"e"}; }).error,
        "e");
    EXPECT_EQ(run_to<haul::discard>([](auto&) -> haul::outcome { throw haul::discard{"r"}; }).reason, "r");
    EXPECT_EQ(run_to<haul::cancel>([](auto&) -> haul::outcome { throw haul::cancel{"r"}; }).reason, "r");
    EXPECT_EQ(run_to<haul::snooze>([](auto&) -> haul::outcome { throw haul::snooze{3s}; }).delay, 3s);
}

TEST_F(worker_executor, anything_else_thrown_is_a_failed_attempt) {
    EXPECT_EQ(run_to<haul::retry>([](auto&) -> haul::outcome { throw std::runtime_error{"boom"}; }).error,
              "boom");
    EXPECT_EQ(run_to<haul::retry>([](auto&) -> haul::outcome { throw haul::error{"mine"}; }).error, "mine");
    EXPECT_NE(run_to<haul::retry>([](auto&) -> haul::outcome { throw 42; }).error, "");
}

TEST_F(worker_executor, a_handler_that_was_told_of_its_timeout_has_timed_out) {
    checkout_row row;
    row.timeout = 5ms;
    const auto wait = [](const haul::job_context& job) -> haul::outcome {
        EXPECT_FALSE(job.wait_for(1h));
        EXPECT_TRUE(job.cancelled());
        return haul::completed{};
    };
    EXPECT_EQ(run_to<haul::retry>(wait, row).error, "timed out after 0.005 s");
    const auto throws = [&](const haul::job_context& job) -> haul::outcome {
        wait(job);
        throw std::runtime_error{"aborted"};
    };
    EXPECT_EQ(run_to<haul::retry>(throws, row).error, "timed out after 0.005 s");
    row.on_timeout = "discard";
    EXPECT_EQ(run_to<haul::discard>(wait, row).reason, "timed out after 0.005 s");
}

TEST_F(worker_executor, a_handler_that_never_asked_has_completed_late) {
    checkout_row row;
    row.timeout = 1us;
    run_to<haul::completed>([](auto&) { return haul::completed{}; }, row);
}

TEST_F(worker_executor, an_outcome_of_its_own_stands_after_a_timeout) {
    checkout_row row;
    row.timeout = 1us;
    const auto how = run_to<haul::snooze>(
        [](const haul::job_context& job) -> haul::outcome {
            while (!job.cancelled()) {
            }
            return haul::snooze{9s};
        },
        row);
    EXPECT_EQ(how.delay, 9s);
}

TEST_F(worker_executor, a_killed_job_is_interrupted_and_the_next_is_not) {
    const auto kill = [&](const haul::job_context& job) -> haul::outcome {
        runs.cancelling().cancel(cancellation::level::job);
        EXPECT_TRUE(job.cancelled());
        EXPECT_FALSE(job.wait_for(1h));
        return haul::completed{};
    };
    run_to<interrupted>(kill);
    run_to<haul::completed>([](const haul::job_context& job) -> haul::outcome {
        EXPECT_FALSE(job.cancelled());
        EXPECT_TRUE(job.wait_for(1ms));
        return haul::completed{};
    });
}

TEST_F(worker_executor, when_the_worker_kills_later_jobs_are_told_too) {
    runs.cancelling().cancel(cancellation::level::worker);
    run_to<interrupted>([](const haul::job_context& job) -> haul::outcome {
        EXPECT_TRUE(job.cancelled());
        return haul::completed{};
    });
}

TEST_F(worker_executor, confirms_the_start_of_jobs_that_want_it) {
    checkout_row row;
    run([](auto&) { return haul::completed{}; }, row);
    EXPECT_EQ(reports.confirmations, 0);
    row.confirm_start = true;
    run_to<haul::completed>([](auto&) { return haul::completed{}; }, row);
    EXPECT_EQ(reports.confirmations, 1);
    reports.owned = false;
    bool ran = false;
    run_to<settled>(
        [&](auto&) {
            ran = true;
            return haul::completed{};
        },
        row);
    EXPECT_FALSE(ran);
}

TEST_F(worker_executor, a_transaction_without_a_database_is_not_the_jobs_failure) {
    executor away{handlers, reports, thread_connection{"host=/nonexistent", "test"}, statements, log};
    handlers.add("t", [](const haul::job_context& job) -> haul::outcome {
        job.transaction();
        return haul::completed{};
    });
    checkout_row row;
    row.kind = "t";
    jobs = make_batch({row});
    away.run((*jobs)[0]);
    EXPECT_TRUE(std::holds_alternative<haul::snooze>(reports.endings.back().second));
}

TEST_F(worker_executor, texts_of_endings_have_a_limit) {
    const std::string huge(300'000, 'x');
    EXPECT_LT(
        run_to<haul::retry>([&](auto&) -> haul::outcome { throw std::runtime_error{huge}; }).error.size(),
        9000u);
    EXPECT_LT(run_to<haul::fail_for_good>([&](auto&) { return haul::fail_for_good{huge}; }).error.size(),
              9000u);
    EXPECT_LT(run_to<haul::discard>([&](auto&) { return haul::discard{huge}; }).reason.size(), 9000u);
    EXPECT_LT(run_to<haul::cancel>([&](auto&) { return haul::cancel{huge}; }).reason.size(), 9000u);
}

TEST_F(worker_executor, a_shortage_of_the_worker_is_not_the_jobs_failure) {
    const auto begun = std::chrono::steady_clock::now();
    const auto how = run_to<haul::snooze>([](auto&) -> haul::outcome { throw_system_error(EMFILE, "pipe"); });
    EXPECT_GT(how.delay, 0ms);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, how.delay) << "the thread pauses";
    EXPECT_NE(
        run_to<haul::retry>([](auto&) -> haul::outcome { throw_system_error(ENOENT, "mail.sh"); }).error, "");
}

TEST_F(worker_executor, the_context_shows_the_job) {
    checkout_row row;
    row.id = 77;
    row.attempt = 2;
    row.args = "{\"n\": 12345678901234567890123.5}";
    run(
        [&](const haul::job_context& job) -> haul::outcome {
            EXPECT_EQ(job.id(), 77);
            EXPECT_EQ(job.kind(), "k");
            EXPECT_EQ(job.queue(), "default");
            EXPECT_EQ(job.priority(), 16383);
            EXPECT_EQ(job.attempt(), 2);
            EXPECT_EQ(job.max_attempts(), 21);
            EXPECT_TRUE(job.retrying());
            EXPECT_FALSE(job.interrupted_at());
            EXPECT_FALSE(job.deadline());
            EXPECT_TRUE(job.args().contains("n"));
            EXPECT_NE(job.to_json().find("12345678901234567890123.5"), std::string::npos)
                << "digits are kept";
            EXPECT_EQ(nlohmann::json::parse(job.to_json())["id"], 77);
            job.progress({{"done", 1}});
            return haul::completed{};
        },
        row);
    EXPECT_EQ(reports.progress_values, std::vector<std::string>{"{\"done\":1}"});
}

class worker_pool : public worker_executor {
protected:
    std::unique_ptr<pool> make_pool(std::size_t least, std::size_t most, std::chrono::milliseconds idle) {
        return std::make_unique<pool>(
            ahead, pool::limits{least, most, idle},
            [this] {
                return std::make_unique<executor>(handlers, reports, thread_connection{"", "test"},
                                                  statements, log);
            },
            wake, log);
    }
    void push(std::size_t count) {
        std::vector<checkout_row> rows(count);
        for (auto& row : rows)
            row.kind = "wait";
        ahead.push(*batches.emplace_back(make_batch(rows)));
    }
    /// Jobs wait here until the test opens it.
    void SetUp() override {
        handlers.add("wait", [this](const haul::job_context& job) -> haul::outcome {
            ++running;
            while (!opened && job.wait_for(1ms)) {
            }
            --running;
            return haul::completed{};
        });
    }
    void TearDown() override { opened = true; }

    event wake;
    buffer ahead{wake};
    std::vector<std::unique_ptr<batch>> batches;
    std::atomic<std::size_t> running{0};
    std::atomic<bool> opened{false};
};

TEST_F(worker_pool, has_as_many_threads_as_there_is_work_for) {
    auto threads = make_pool(1, 3, 1h);
    threads->adapt();
    EXPECT_EQ(threads->size(), 1u);
    push(2);
    threads->adapt();
    EXPECT_EQ(threads->size(), 2u);
    push(5);
    threads->adapt();
    EXPECT_EQ(threads->size(), 3u);
    wait_until([&] { return running == 3; }, "three jobs run");
    EXPECT_EQ(ahead.state().waiting, 4u);
    opened = true;
    wait_until([&] { return ahead.state().started == 7 && ahead.state().busy == 0; }, "all jobs have run");
}

TEST_F(worker_pool, idle_threads_end_down_to_the_least_number) {
    auto threads = make_pool(1, 4, 10ms);
    push(4);
    threads->adapt();
    EXPECT_EQ(threads->size(), 4u);
    opened = true;
    wait_until([&] { return threads->size() == 1; }, "three threads have ended");
    EXPECT_TRUE(wake.is_set());
    push(2);
    threads->adapt();
    wait_until([&] { return ahead.state().started == 6; }, "later jobs run");
}

// The processor time of this process, so that a spinning thread shows.
std::chrono::microseconds processor_time() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto of = [](const timeval& time) {
        return std::chrono::seconds{time.tv_sec} + std::chrono::microseconds{time.tv_usec};
    };
    return of(usage.ru_utime) + of(usage.ru_stime);
}

TEST_F(worker_pool, threads_that_stay_do_not_spin_without_an_idle_time) {
    auto threads = make_pool(2, 4, 0ms);
    opened = true;
    push(4);
    threads->adapt();
    wait_until([&] { return threads->size() == 2; }, "two threads have ended");
    const auto before = processor_time();
    std::this_thread::sleep_for(300ms);
    EXPECT_LT(processor_time() - before, 150ms);
    EXPECT_EQ(threads->size(), 2u);
    push(3);
    wait_until([&] { return ahead.state().started == 7 && ahead.state().busy == 0; }, "later jobs run");
}

TEST_F(worker_pool, goes_on_with_fewer_threads_when_the_system_gives_no_more) {
    std::size_t allowed = 2;
    pool threads{ahead,
                 {3, 3, 1h},
                 [&] {
                     if (allowed == 0)
                         throw std::system_error{EMFILE, std::generic_category(), "eventfd"};
                     --allowed;
                     return std::make_unique<executor>(handlers, reports, thread_connection{"", "test"},
                                                       statements, log);
                 },
                 wake,
                 log};
    threads.adapt();
    EXPECT_EQ(threads.size(), 2u);
    threads.adapt();
    EXPECT_EQ(threads.size(), 2u) << "it does not try again at once";
    opened = true;
    push(3);
    wait_until([&] { return ahead.state().started == 3 && ahead.state().busy == 0; }, "the jobs run");
    allowed = 1;
    wait_until(
        [&] {
            threads.adapt();
            return threads.size() == 3;
        },
        "there is a third thread");
}

TEST_F(worker_pool, cancel_reaches_every_thread) {
    auto threads = make_pool(0, 3, 1h);
    push(3);
    threads->adapt();
    wait_until([&] { return running == 3; }, "three jobs run");
    threads->cancel(cancellation::level::worker);
    wait_until([&] { return running == 0; }, "they were told");
    ahead.close();
    threads->join();
    const std::lock_guard lock{reports.mutex};
    ASSERT_EQ(reports.endings.size(), 3u);
    for (const auto& [id, how] : reports.endings)
        EXPECT_TRUE(std::holds_alternative<interrupted>(how));
}

TEST_F(worker_pool, closing_the_buffer_ends_all_threads) {
    auto threads = make_pool(2, 2, 1h);
    threads->adapt();
    ahead.close();
    wait_until([&] { return threads->size() == 0; }, "the threads have ended");
}

} // namespace
