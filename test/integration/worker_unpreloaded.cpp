// On a server that does not preload pg_haul: nobody wakes a worker but the enqueuers, and its own clock.
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class worker_unpreloaded : public worker_fixture, public testing::WithParamInterface<wait_mode> {
protected:
    static void SetUpTestSuite() { server = new cluster{{false, {}}}; }

    worker_options idle() const {
        auto made = options();
        made.wait = GetParam();
        made.polling_interval = 10min;
        made.heartbeat_interval = 10min;
        return made;
    }
    /// Waits until the worker has nothing to do: its last statement is done, or is the long poll.
    void await_rest() {
        await("(SELECT bool_and(CASE WHEN state = 'active' THEN query LIKE 'CALL haul.checkout_wait%'"
              " ELSE query LIKE '%next_due%' END) FROM pg_stat_activity"
              " WHERE application_name = 'haul worker w fetch' AND datname = current_database())");
    }
};

INSTANTIATE_TEST_SUITE_P(, worker_unpreloaded, testing::Values(wait_mode::listen, wait_mode::call),
                         [](const auto& info) {
                             return info.param == wait_mode::listen ? "listen" : "call";
                         });

TEST_P(worker_unpreloaded, finds_a_job_at_once) {
    worker w{idle()};
    w.on("k", [](const job_context&) {});
    w.start();
    for (int i = 0; i < 3; ++i) {
        await_rest();
        await_end(enqueue("k", "queue", "'q" + std::to_string(i) + "'"));
    }
    w.stop();
    w.join();
}

TEST_P(worker_unpreloaded, starts_a_future_job_on_time) {
    worker w{idle()};
    std::atomic<double> late{-1};
    w.on("k", [&](const job_context& job) {
        late = std::chrono::duration<double>(std::chrono::system_clock::now() - job.run_at()).count();
    });
    w.start();
    await_rest();
    await_end(enqueue("k", "run_at", "now() + interval '1.5 s'"));
    EXPECT_GE(late, 0);
    EXPECT_LT(late, 1.0) << "seconds; the next poll is ten minutes away";
    w.stop();
    w.join();
}

TEST_P(worker_unpreloaded, ends_at_once) {
    worker w{idle()};
    w.on("k", [](const job_context&) {});
    w.start();
    await_rest();
    const auto begun = std::chrono::steady_clock::now();
    w.stop();
    w.join();
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
}

} // namespace
} // namespace haul::test
