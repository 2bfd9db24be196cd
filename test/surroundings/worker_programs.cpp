#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <fcntl.h>
#include <fstream>
#include <sys/prctl.h>
#include <unistd.h>

namespace haul::test {
namespace {

/// The programs of a worker, when something happens to it or to them.
class worker_programs : public worker_fixture {
protected:
    static std::string script(const std::string& text) {
        return "haul:\n  handlers:\n    script: {exec: [sh, -c, '" + text + "']}\n";
    }
    std::string file(const std::string& name) const { return (directory.path() / name).string(); }

    /// The process id that a script has written to a file.
    static pid_t pid_in(const std::string& path) {
        pid_t pid = 0;
        wait_until(
            [&] {
                std::ifstream in{path};
                std::string line;
                return std::getline(in, line) && !in.eof() && (pid = std::stoi(line)) > 0;
            },
            "the script has written to " + path);
        return pid;
    }
    /// The state of a process as /proc gives it, such as R, S or Z; "-" when there is none.
    static std::string state(pid_t pid) {
        std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
        std::string content;
        std::getline(in, content);
        const auto after_name = content.rfind(") ");
        return after_name == std::string::npos ? "-" : content.substr(after_name + 2, 1);
    }
    static bool runs(pid_t pid) { return state(pid) != "-" && state(pid) != "Z"; }

    temporary_directory directory;
};

TEST_F(worker_programs, die_with_a_worker_that_is_killed_and_so_does_their_group) {
    worker_process program{dsn, script("sleep 600 & echo $! >" + file("child") + "; echo $$ >" +
                                       file("leader") + "; (trap \"\" TERM HUP INT; sleep 600) & wait")};
    enqueue("script");
    const pid_t leader = pid_in(file("leader")), child = pid_in(file("child"));
    EXPECT_TRUE(runs(leader) && runs(child));
    program->kill();
    wait_until([&] { return !runs(leader) && !runs(child); }, "the program and its child are gone");
}

TEST_F(worker_programs, outlive_the_thread_pools_shrinking) {
    // The system tells a program of the end of the thread that started it: that must be one that lives on.
    worker_process program{dsn, "haul:\n  max_thread_idletime: 0\n  max_threads: 8\n  handlers:\n"
                                "    script: {exec: [sh, -c, 'sleep 0.3']}\n"};
    sql.exec("INSERT INTO haul.jobs (kind, max_attempts) SELECT 'script', 1 FROM generate_series(1, 40)");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed') = 40");
}

TEST_F(worker_programs, what_they_leave_behind_outlives_them_and_the_worker) {
    worker_process program{dsn, script("sleep 600 >/dev/null 2>&1 & echo $! >" + file("child"))};
    await_end(enqueue("script"));
    const pid_t child = pid_in(file("child"));
    program->kill();
    program->wait();
    expect_all_along([&] { return runs(child); }, "the background process runs", 300ms);
    ::kill(child, SIGKILL);
}

TEST_F(worker_programs, that_are_missing_are_found_at_the_start) {
    const auto script_file = directory.write("no_script", "#!/bin/sh\n");
    for (const auto& name :
         {std::string{"/nonexistent/program"}, std::string{"no-such-program"}, script_file}) {
        const auto job = enqueue("script");
        worker_process program{
            dsn, "haul:\n  handlers:\n    script: {exec: [" + name + "]}\n", {"--exit-when-empty"}};
        EXPECT_EQ(program->wait(), 2);
        EXPECT_NE(program->errors().find("kind \"script\""), std::string::npos) << program->errors();
        EXPECT_NE(program->errors().find(name), std::string::npos) << program->errors();
        EXPECT_EQ(live(job, "state || attempt"), "ready0");
    }
}

TEST_F(worker_programs, get_times_of_every_year) {
    const auto job = enqueue("script", "run_at", "'0001-01-01 00:00:00 UTC'");
    worker_process program{dsn, script("echo $HAUL_RUN_AT"), {"--exit-when-empty"}};
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(ended(job, "result"), "\"0001-01-01T00:00:00.000000Z\"");
}

TEST_F(worker_programs, results_that_cannot_be_kept_are_replaced_by_a_note_in_log_and_result) {
    const auto big = enqueue("big"), number = enqueue("number"), refused = enqueue("refused");
    worker_process program{dsn,
                           "haul:\n  handlers:\n"
                           "    big: {exec: [sh, -c, 'head -c 1100000 /dev/zero | tr \"\\0\" x']}\n"
                           "    number: {exec: [echo, '{\"n\":1e400}']}\n"
                           "    refused: {exec: [echo, '{\"n\":1e999999}']}\n",
                           {"--exit-when-empty"}};
    EXPECT_EQ(program->wait(), 0) << program->errors();
    EXPECT_EQ(ended(big, "concat_ws(' ', state, result)"),
              "completed \"the result is not stored: standard output is longer than 1 MB\"");
    EXPECT_NE(program->errors().find("longer than 1 MB"), std::string::npos) << program->errors();
    EXPECT_EQ(ended(number, "(result->'n')::numeric = 1e400"), "true");
    EXPECT_EQ(ended(refused, "concat_ws(' ', state, jsonb_typeof(result), result::text LIKE '%refused%')"),
              "completed string t");
    EXPECT_NE(program->errors().find("event=report_"), std::string::npos) << program->errors();
}

// As process 1 of a container is, whoever is a subreaper gets the orphans.
TEST_F(worker_programs, orphans_that_end_leave_no_zombie) {
    worker_process program{
        dsn, script("(sleep 0.3 & echo $! >" + file("child") + ") >/dev/null 2>&1"), {}, {}, [] {
            ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        }};
    await_end(enqueue("script"));
    const pid_t child = pid_in(file("child"));
    wait_until([&] { return state(child) == "-"; }, "the orphan is gone, and is no zombie");
    // What is reaped must not be a program whose status a thread waits for.
    sql.exec("INSERT INTO haul.jobs (kind, max_attempts) SELECT 'script', 1 FROM generate_series(1, 50)");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed') = 51");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.job_errors"), 0);
}

TEST_F(worker_programs, process_1_of_a_namespace_reaps_and_ends_when_told) {
    const auto config = directory.write("haul.yaml", script("(sleep 0.3 &) >/dev/null 2>&1"));
    const std::vector<std::string> unshare{"unshare", "--pid", "--fork", "--kill-child"};
    auto trial = unshare;
    trial.push_back("true");
    if (process{trial}.wait() != 0)
        GTEST_SKIP() << "no namespaces here";
    auto command = unshare;
    command.insert(command.end(), {HAUL_PROGRAM, "run", "--dsn", dsn, "--config", config});
    process outer{command};
    await("EXISTS (SELECT FROM haul.workers WHERE pid = 1)");
    sql.exec("INSERT INTO haul.jobs (kind, max_attempts) SELECT 'script', 1 FROM generate_series(1, 20)");
    await("(SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed') = 20");

    const auto children = [](pid_t pid) {
        const auto number = std::to_string(pid);
        std::ifstream in{"/proc/" + number + "/task/" + number + "/children"};
        std::vector<pid_t> found;
        for (pid_t child; in >> child;)
            found.push_back(child);
        return found;
    };
    ASSERT_EQ(children(outer.pid()).size(), 1u);
    const pid_t worker = children(outer.pid()).front();
    wait_until(
        [&] {
            for (const pid_t child : children(worker)) {
                if (state(child) == "Z")
                    return false;
            }
            return true;
        },
        "no zombie is left");
    ::kill(worker, SIGTERM);
    EXPECT_EQ(outer.wait(), 0) << outer.errors();
}

TEST_F(worker_programs, a_log_whose_reader_has_gone_ends_nothing) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    worker_process program{dsn, script("exit 0"), {}, {}, [&] { ::dup2(ends[1], STDERR_FILENO); }};
    ::close(ends[1]);
    await("EXISTS (SELECT FROM haul.workers)");
    ::close(ends[0]);
    program->signal(SIGHUP);
    await_end(enqueue("script"));
    program->signal(SIGHUP);
    EXPECT_TRUE(program->running());
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0);
}

} // namespace
} // namespace haul::test
