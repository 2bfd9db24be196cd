#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <array>
#include <unistd.h>

namespace haul::test {
namespace {

/// The program `haul`, started by somebody who left it in an odd state.
class worker_inherited : public worker_fixture {
protected:
    static std::string script(const std::string& text) {
        return "haul:\n  handlers:\n    script: {exec: [sh, -c, '" + text + "']}\n";
    }
    /// Runs one job with the script, once, and returns its state and error.
    std::string outcome_of(const std::string& text, const process::preparation& prepare) {
        const auto job = enqueue("script", "max_attempts", "1");
        worker_process program{dsn, script(text), {"--exit-when-empty"}, {}, prepare};
        EXPECT_EQ(program->wait(), 0) << program->errors();
        return ended(job, "concat_ws(': ', state, last_error)").value_or("none");
    }
};

void ignore_child() {
    ::signal(SIGCHLD, SIG_IGN);
}

TEST_F(worker_inherited, failures_are_failures_although_sigchld_was_ignored) {
    EXPECT_EQ(outcome_of("exit 0", ignore_child), "completed");
    EXPECT_EQ(outcome_of("exit 7", ignore_child), "failed: exit status 7");
    EXPECT_EQ(outcome_of("exit 100", ignore_child), "discarded: exit status 100");
    EXPECT_EQ(outcome_of("exit 101", ignore_child), "failed: exit status 101");
    EXPECT_EQ(outcome_of("kill -9 $$", ignore_child), "failed: killed by signal 9");
}

TEST_F(worker_inherited, blocked_and_ignored_signals_end_it_all_the_same_and_reach_its_programs) {
    const auto deaf = [] {
        sigset_t all;
        sigfillset(&all);
        ::sigprocmask(SIG_SETMASK, &all, nullptr);
        for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1})
            ::signal(number, SIG_IGN);
    };
    // An ignored or blocked signal would be neither trapped nor deadly for the program.
    EXPECT_EQ(outcome_of("kill -USR1 $$; exit 0", deaf), "failed: killed by signal 10");
    EXPECT_EQ(outcome_of("kill -PIPE $$; exit 0", deaf), "failed: killed by signal 13");

    worker_process program{dsn, script("exit 0"), {}, {}, deaf};
    await("EXISTS (SELECT FROM haul.workers)");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

TEST_F(worker_inherited, without_standard_input_output_and_error) {
    const auto close_all = [] {
        for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
            ::close(number);
    };
    EXPECT_EQ(outcome_of("cat; echo lost >&2; exit 3", close_all), "failed: exit status 3: lost");

    // What the worker itself opens must not be what its log lines go to.
    worker_process program{dsn, script("exit 0"), {}, {}, close_all};
    await("EXISTS (SELECT FROM haul.workers)");
    for (const auto* number : {"0", "1", "2"}) {
        const auto path = "/proc/" + std::to_string(program->pid()) + "/fd/" + number;
        std::array<char, 64> target{};
        ASSERT_GT(::readlink(path.c_str(), target.data(), target.size() - 1), 0) << path;
        EXPECT_STREQ(target.data(), "/dev/null") << path;
    }
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0);
}

} // namespace
} // namespace haul::test
