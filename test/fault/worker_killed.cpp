// A worker is killed by the kernel's hand, kill -9, and others do its work.
#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"
#include "support/workload.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace haul::test {
namespace {

using ::testing::IsEmpty;

class worker_killed : public ::testing::Test {
protected:
    // A program that hangs when it is run for the first time, with its process id in a file, and succeeds
    // afterwards.
    std::string hanging_handler() const {
        return "    hang: {exec: [sh, -c, 'test -e " + pid_file() + " || { echo $$ >" + pid_file() +
               ".new; mv " + pid_file() + ".new " + pid_file() + "; exec sleep 600; }']}\n";
    }
    std::string pid_file() const { return (directory.path() / "pid").string(); }
    bool hangs() const { return std::filesystem::exists(pid_file()); }

    ~worker_killed() override {
        pid_t left = 0;
        if (std::ifstream(pid_file()) >> left)
            ::kill(left, SIGKILL);
    }

    // Quick to notice the death of others, and itself alive enough not to be taken for dead.
    std::unique_ptr<worker_process> start_worker(const std::string& name) const {
        return std::make_unique<worker_process>(
            dsn, workload::yaml(hanging_handler()) + "  heartbeat_interval: 0.5\n",
            std::vector<std::string>{"--identifier", name, "--threads", "1:1"});
    }

    void expect_that_the_job_was_interrupted_and_ran_again() {
        session database(dsn);
        EXPECT_EQ(
            database.exec(
                "SELECT state, attempt, interruptions, interrupted_at IS NOT NULL FROM haul.finished_jobs "
                "WHERE kind = 'hang'"),
            (rows{{"completed", "2", "1", "t"}}));
        EXPECT_EQ(database.number(
                      "SELECT count(*) FROM haul.finished_jobs WHERE kind = 'noop' AND state = 'completed'"),
                  20);
    }

    temporary_directory directory;
    cluster server{{true, {{"haul.worker_timeout", "3s"}}}};
    std::string dsn = server.create_database();
    workload load{dsn, work::noop};
};

TEST_F(worker_killed, in_mid_job_and_its_row_deleted) {
    auto victim = start_worker("victim");
    load.enqueue(1, 1, "hang");
    load.enqueue(20);
    wait_until([&] { return hangs(); }, "the handler runs");
    (*victim)->kill();
    (*victim)->wait();

    session(dsn).exec("DELETE FROM haul.workers WHERE name = 'victim'");
    auto heir = start_worker("heir");
    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    expect_that_the_job_was_interrupted_and_ran_again();
}

TEST_F(worker_killed, in_mid_job_and_noticed_by_its_missing_heartbeat) {
    auto victim = start_worker("victim");
    load.enqueue(1, 1, "hang");
    load.enqueue(20);
    wait_until([&] { return hangs(); }, "the handler runs");
    auto heir = start_worker("heir"); // does the maintenance
    (*victim)->kill();
    (*victim)->wait();

    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    expect_that_the_job_was_interrupted_and_ran_again();
    EXPECT_EQ(session(dsn).text("SELECT string_agg(name, ' ') FROM haul.workers"), "heir");
}

TEST_F(worker_killed, again_and_again_under_load) {
    auto survivor = start_worker("survivor");
    producer producing(dsn, work::noop);
    for (int death = 0; death < 4; ++death) {
        const std::string name = "victim " + std::to_string(death);
        auto victim = start_worker(name);
        wait_until(
            [&] {
                return session(dsn).truth(
                    "SELECT EXISTS (SELECT FROM haul.jobs AS j JOIN haul.workers AS w ON w.id = "
                    "j.worker_id WHERE w.name = $1)",
                    {name});
            },
            "the victim has jobs");
        (*victim)->kill();
        (*victim)->wait();
    }
    producing.stop();
    EXPECT_THAT(load.drain_and_check(), IsEmpty());
    EXPECT_EQ(session(dsn).number("SELECT count(*) FROM haul.finished_jobs WHERE state <> 'completed'"), 0);
}

} // namespace
} // namespace haul::test
