// A job kills every worker that runs it. It must fail before it has killed them all, and harm no other job.
#include "support/checker.hpp"
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/workload.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

constexpr int killed = 128 + SIGKILL;

TEST(poison_job, fails_after_three_workers_and_harms_no_other) {
    cluster server;
    const std::string dsn = server.create_database();
    workload load(dsn);
    const std::string yaml = workload::yaml("    poison: {exec: [sh, -c, 'kill -9 $PPID']}\n");
    load.enqueue(5, 1);
    load.enqueue(1, 2, "poison");
    load.enqueue(30, 3);

    session database(dsn);
    int deaths = 0;
    for (int status = killed; status == killed && deaths < 10;) {
        worker_process worker(dsn, yaml, {"--threads", "1:1", "--exit-when-empty"});
        status = worker->wait();
        if (status == killed)
            ++deaths;
        else
            EXPECT_EQ(status, 0) << worker->errors();
        database.exec("DELETE FROM haul.workers");
    }
    EXPECT_EQ(deaths, 3);

    EXPECT_EQ(database.number(
                  "SELECT count(*) FROM haul.finished_jobs WHERE kind = 'effect' AND state = 'completed'"),
              35);
    EXPECT_THAT(load.drain_and_check(), IsEmpty());
}

} // namespace
} // namespace haul::test
