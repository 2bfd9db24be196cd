#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>
#include <fstream>

namespace haul::test {
namespace {

class worker_shutdown : public worker_fixture {
protected:
    const std::string yaml = "haul:\n  max_threads: 2\n  handlers:\n    nap: {builtin: sleep}\n"
                             "    noop: {builtin: noop}\n    stubborn: {exec: [sh, -c, \"trap '' TERM; sleep "
                             "600 & wait; sleep 600\"]}\n";

    /// Waits until handlers have begun with so many jobs, which the worker must log.
    void await_begun(worker_process& program, int count) {
        wait_until(
            [&] {
                const auto log = program->errors();
                int begun = 0;
                for (auto at = log.find("event=begin"); at != std::string::npos;
                     at = log.find("event=begin", at + 1))
                    ++begun;
                return begun >= count;
            },
            "jobs have begun");
    }
    int workers() { return static_cast<int>(sql.number("SELECT count(*) FROM haul.workers")); }
};

TEST_F(worker_shutdown, term_waits_for_what_runs_and_gives_back_the_rest_uncharged) {
    worker_process program{dsn, yaml, {"--log-level", "debug"}};
    const auto first = enqueue("nap", "args", R"('{"seconds": 2}')"),
               second = enqueue("nap", "args", R"('{"seconds": 2}')");
    await_begun(program, 2);
    const auto waiting = enqueue("noop");
    program->signal(SIGTERM);
    await("(SELECT status FROM haul.workers) = 'draining'");
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(ended(first, "state"), "completed");
    EXPECT_EQ(ended(second, "state"), "completed");
    EXPECT_EQ(live(waiting, "state || attempt"), "ready0");
    EXPECT_EQ(workers(), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.leases"), 0);
}

TEST_F(worker_shutdown, term_in_the_middle_of_a_load_loses_and_charges_nothing) {
    sql.exec("INSERT INTO haul.jobs (kind) SELECT 'noop' FROM generate_series(1, 60000)");
    worker_process program{dsn, yaml};
    await("EXISTS (SELECT FROM haul.finished_jobs)");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(
        sql.number("SELECT (SELECT count(*) FROM haul.jobs) + (SELECT count(*) FROM haul.finished_jobs)"),
        60000);
    EXPECT_EQ(
        sql.number(
            "SELECT count(*) FROM haul.jobs WHERE state <> 'ready' OR attempt > 0 OR interruptions > 0"),
        0);
    EXPECT_EQ(workers(), 0);
}

TEST_F(worker_shutdown, the_second_signal_kills) {
    worker_process program{dsn, yaml, {"--log-level", "debug"}};
    enqueue("nap", "args", R"('{"seconds": 600}')");
    enqueue("stubborn");
    await_begun(program, 2);
    program->signal(SIGTERM);
    await("(SELECT status FROM haul.workers) = 'draining'");
    program->signal(SIGINT);
    EXPECT_EQ(program->wait(15s), 128 + SIGINT) << program->errors();
    EXPECT_EQ(sql.number(
                  "SELECT count(*) FROM haul.jobs WHERE state = 'ready' AND attempt = 1 AND interruptions = 1"
                  " AND interrupted_at IS NOT NULL"),
              2);
    EXPECT_EQ(workers(), 0);
}

TEST_F(worker_shutdown, wait_for_termination_limits_the_wait) {
    worker_process program{dsn,
                           "haul:\n  wait_for_termination: 0.2\n  handlers:\n    nap: {builtin: sleep}\n",
                           {"--log-level", "debug"}};
    const auto id = enqueue("nap", "args", R"('{"seconds": 600}')");
    await_begun(program, 1);
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(15s), 0) << program->errors();
    EXPECT_EQ(live(id, "state || attempt || interruptions"), "ready11");
    EXPECT_EQ(workers(), 0);
}

TEST_F(worker_shutdown, wait_for_termination_false_leaves_at_once) {
    worker_process program{dsn,
                           "haul:\n  wait_for_termination: false\n  handlers:\n    nap: {builtin: sleep}\n",
                           {"--log-level", "debug"}};
    const auto id = enqueue("nap", "args", R"('{"seconds": 600}')");
    await_begun(program, 1);
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(15s), 0) << program->errors();
    EXPECT_EQ(live(id, "state || attempt || interruptions"), "ready11");
    EXPECT_EQ(workers(), 0);
}

TEST_F(worker_shutdown, a_handler_that_does_not_end_is_left_behind_with_its_process) {
    const temporary_directory directory;
    const auto source =
        directory.write("stuck.cpp", "#include <haul/plugin.hpp>\n#include <thread>\n"
                                     "static void stuck(const haul::job_context&) {\n"
                                     "    for (;;) std::this_thread::sleep_for(std::chrono::hours{1});\n}\n"
                                     "HAUL_PLUGIN(stuck)\n");
    const auto object = (directory.path() / "stuck.so").string();
    run({"g++", "-std=c++17", "-shared", "-fPIC", "-I", HAUL_SOURCE_DIR "/worker/include", "-I",
         HAUL_SOURCE_DIR "/client-cpp/include", source, "-o", object});
    worker_process program{
        dsn, "haul:\n  handlers:\n    stuck: {plugin: " + object + "}\n", {"--log-level", "debug"}};
    const auto id = enqueue("stuck");
    await_begun(program, 1);
    program->signal(SIGTERM);
    program->signal(SIGTERM); // coalesced with the first, if that is still pending
    await("(SELECT status FROM haul.workers) = 'draining'");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(20s), 128 + SIGTERM) << program->errors();
    EXPECT_EQ(live(id, "state || interruptions"), "ready1");
    EXPECT_EQ(workers(), 0);
}

TEST_F(worker_shutdown, a_row_that_cannot_be_deleted_is_an_error) {
    worker_process program{dsn, yaml};
    await("EXISTS (SELECT FROM haul.workers)");
    server->stop("fast");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 1) << program->errors();
    server->start();
    sql = session{dsn};
    EXPECT_EQ(workers(), 1);
}

TEST_F(worker_shutdown, hup_opens_the_log_anew) {
    const temporary_directory directory;
    const auto log = (directory.path() / "log").string();
    worker_process program{dsn, yaml, {"--log-file", log}};
    await("EXISTS (SELECT FROM haul.workers)");
    std::filesystem::rename(log, log + ".old");
    program->signal(SIGHUP);
    wait_until([&] { return std::filesystem::exists(log) && std::filesystem::file_size(log) > 0; },
               "there is a new log");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0);
    std::ifstream in{log};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    EXPECT_NE(text.find("event=draining"), std::string::npos) << text;
}

TEST_F(worker_shutdown, kill_of_an_embedded_worker_interrupts_its_jobs) {
    const auto id = enqueue("k");
    worker w{options()};
    std::atomic<bool> begun{false};
    w.on("k", [&](const job_context& job) {
        begun = true;
        job.wait_for(1h);
    });
    w.start();
    wait_until([&] { return begun.load(); }, "the job has begun");
    w.kill();
    w.join();
    EXPECT_EQ(live(id, "state || interruptions"), "ready1");
    EXPECT_EQ(workers(), 0);
}

} // namespace
} // namespace haul::test
