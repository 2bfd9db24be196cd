// An administrator terminates each of a worker's connections in turn, under load.
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"
#include "support/workload.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class connections_terminated : public ::testing::TestWithParam<work> {};

INSTANTIATE_TEST_SUITE_P(, connections_terminated, ::testing::Values(work::effect, work::noop),
                         [](const auto& info) { return info.param == work::effect ? "effect" : "noop"; });

TEST_P(connections_terminated, in_turn_under_load_loses_and_doubles_nothing) {
    cluster server;
    const std::string dsn = server.create_database();
    workload load(dsn, GetParam());
    worker_process worker(dsn, workload::yaml(), {"--identifier", "only", "--threads", "2:2"});
    producer producing(dsn, GetParam());
    session admin(dsn);
    const std::string connections =
        "SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE "
        "'haul worker only%' ORDER BY application_name, pid";

    const auto work_goes_on = [&](const std::string& after) {
        const std::int64_t before = load.completed();
        wait_until([&] { return load.completed() >= before + 50; }, "50 more jobs have completed " + after);
    };
    work_goes_on("at the start");
    int terminated = 0;
    for (int round = 0; round < 3; ++round)
        for (const row& connection : admin.exec(connections)) {
            if (admin.truth("SELECT pg_terminate_backend($1)", {connection[0]}))
                ++terminated;
            work_goes_on("after the end of " + *connection[1]);
        }
    EXPECT_GE(terminated, 6); // one to fetch, one to report, at least
    producing.stop();

    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.finished_jobs WHERE state <> 'completed'"), 0);
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.job_errors"), 0);
    EXPECT_EQ(admin.number("SELECT count(*) FROM haul.workers"), 1);
    worker->signal(SIGTERM);
    EXPECT_EQ(worker->wait(), 0) << worker->errors();
}

} // namespace
} // namespace haul::test
