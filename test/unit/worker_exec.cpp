#include "child_process.hpp"
#include "event.hpp"
#include "handlers/handlers.hpp"
#include "support/process.hpp"
#include "support/temporary_directory.hpp"
#include "support/wait.hpp"

#include "haul/error.hpp"
#include "unavailable.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace {

using namespace haul::test;
using namespace std::chrono_literals;

/// A job without a worker.
class fake_job final : public haul::job_context {
public:
    std::int64_t id() const noexcept override { return 42; }
    std::string_view kind() const noexcept override { return "thumb"; }
    std::string_view queue() const noexcept override { return "images"; }
    std::string_view args_text() const noexcept override { return "{}"; }
    const nlohmann::json& args() const override { return given_args; }
    int priority() const noexcept override { return 7; }
    int attempt() const noexcept override { return 2; }
    int max_attempts() const noexcept override { return 5; }
    haul::timestamp run_at() const noexcept override { return {}; }
    haul::timestamp enqueued_at() const noexcept override { return {}; }
    std::optional<haul::timestamp> interrupted_at() const noexcept override { return {}; }
    std::string_view last_error() const noexcept override { return {}; }
    std::optional<std::int64_t> workflow_id() const noexcept override { return 9; }
    std::string_view cron_name() const noexcept override { return "nightly"; }
    const nlohmann::json& results() const override { return given_args; }
    std::string_view results_text() const override { return "{}"; }
    std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept override { return until; }
    bool cancelled() const noexcept override {
        return killed.is_set() || (until && std::chrono::steady_clock::now() >= *until);
    }
    bool wait_for(std::chrono::milliseconds) const override { return !cancelled(); }
    int kill_descriptor() const noexcept override { return killed.descriptor(); }
    bool killed_by_force() const noexcept override { return forced; }
    void progress(const nlohmann::json&) const override {}
    void log(haul::log_level, std::string_view message) const override { logged = message; }
    pqxx::transaction_base& transaction() const override { throw haul::error{"no database"}; }
    std::string to_json() const override { return input; }

    nlohmann::json given_args = nlohmann::json::object();
    std::optional<std::chrono::steady_clock::time_point> until;
    haul::core::event killed;
    std::atomic<bool> forced{false};
    std::string input = "{\"id\":42}";
    mutable std::string logged;
};

haul::outcome sh(const std::string& script, const fake_job& job = {}) {
    std::signal(SIGPIPE, SIG_IGN); // which a worker blocks on its threads
    return haul::core::make_exec_handler({"sh", "-c", script})(job);
}

template <typename Outcome>
Outcome expect(haul::outcome how) {
    if (const auto* found = std::get_if<Outcome>(&how))
        return *found;
    ADD_FAILURE() << "the outcome is number " << how.index()
                  << (std::holds_alternative<haul::retry>(how) ? ": " + std::get<haul::retry>(how).error
                                                               : "");
    return {};
}

bool is_alive(pid_t pid) {
    return ::kill(pid, 0) == 0;
}

/// The process id that a script has written to a file.
pid_t pid_in(const std::string& file) {
    pid_t pid = 0;
    wait_until(
        [&] {
            std::ifstream in{file};
            std::string line;
            return std::getline(in, line) && !in.eof() && (pid = std::stoi(line)) > 0;
        },
        "the script has started");
    return pid;
}

TEST(worker_exec, json_on_standard_output_is_the_result) {
    EXPECT_EQ(expect<haul::completed>(sh("echo '{\"a\": 1.00}'")).result, "{\"a\": 1.00}");
    EXPECT_EQ(expect<haul::completed>(sh("printf 'two\\nlines\\n'")).result, "\"two\\nlines\"");
    EXPECT_EQ(expect<haul::completed>(sh("printf '\\377'")).result, "\"\xEF\xBF\xBD\"");
    EXPECT_EQ(expect<haul::completed>(sh(":")).result, "");
}

TEST(worker_exec, the_program_gets_the_job) {
    EXPECT_EQ(expect<haul::completed>(sh("cat")).result, "{\"id\":42}");
    EXPECT_EQ(expect<haul::completed>(sh("echo \"\\\"$HAUL_JOB_ID $HAUL_WORKFLOW_ID $HAUL_CRON_NAME "
                                         "$HAUL_KIND $HAUL_QUEUE $HAUL_PRIORITY $HAUL_ATTEMPT"
                                         " $HAUL_MAX_ATTEMPTS $HAUL_RUN_AT\\\"\""))
                  .result,
              "\"42 9 nightly thumb images 7 2 5 1970-01-01T00:00:00.000000Z\"");
}

TEST(worker_exec, large_input_and_output_do_not_block_each_other) {
    fake_job job;
    job.input = '"' + std::string(900'000, 'x') + '"';
    EXPECT_EQ(expect<haul::completed>(sh("cat", job)).result, job.input);
    EXPECT_EQ(expect<haul::completed>(sh("exit 0", job)).result, "") << "it need not read its input";
}

TEST(worker_exec, a_result_above_1_mb_is_replaced_by_a_note_and_logged) {
    fake_job job;
    const auto result = expect<haul::completed>(sh("head -c 1100000 /dev/zero | tr '\\0' x", job)).result;
    EXPECT_THAT(nlohmann::json::parse(result).get<std::string>(), testing::HasSubstr("longer than 1 MB"));
    EXPECT_NE(job.logged.find("1 MB"), std::string::npos);
}

TEST(worker_exec, numbers_of_any_size_are_json_and_what_looks_like_them_is_not) {
    const auto result_of = [](const std::string& output) {
        fake_job job;
        job.input = output;
        return expect<haul::completed>(sh("cat", job)).result;
    };
    const std::string long_number(400, '7');
    for (const std::string& json :
         {std::string{"{\"n\":1e400}"}, "[" + long_number + "]", "-0." + long_number + "E-" + "1234",
          std::string{"\"a\\\"1e400\""}, std::string{"{\"0123\": 10}"}})
        EXPECT_EQ(result_of(json), json);
    for (const std::string text :
         {"0123", "[01e400]", "1e", "1e400 apples", "{\"n\":1e400", "\"1", "1.", "--1"})
        EXPECT_EQ(result_of(text), nlohmann::json(text).dump());
}

TEST(worker_exec, exit_statuses) {
    EXPECT_EQ(expect<haul::snooze>(sh("exit 75")).delay, 60s);
    EXPECT_EQ(expect<haul::snooze>(sh("echo 2.5; exit 75")).delay, 2500ms);
    EXPECT_EQ(expect<haul::discard>(sh("echo pointless >&2; exit 100")).reason, "exit status 100: pointless");
    EXPECT_EQ(expect<haul::fail_for_good>(sh("echo hopeless >&2; exit 101")).error,
              "exit status 101: hopeless");
    EXPECT_EQ(expect<haul::retry>(sh("echo bad luck >&2; exit 3")).error, "exit status 3: bad luck");
    EXPECT_EQ(expect<haul::retry>(sh("exit 1")).error, "exit status 1");
    EXPECT_EQ(expect<haul::retry>(sh("kill -9 $$")).error, "killed by signal 9");
}

// As an application may that embeds a worker.
TEST(worker_exec, a_status_that_nobody_can_have_is_no_success) {
    const auto before = ::signal(SIGCHLD, SIG_IGN);
    const auto error = expect<haul::retry>(sh("exit 0")).error;
    ::signal(SIGCHLD, before);
    EXPECT_THAT(error, testing::HasSubstr("SIGCHLD"));
}

TEST(worker_exec, the_error_is_the_end_of_standard_error) {
    const auto error =
        expect<haul::retry>(sh("yes chatter | head -c 500000 >&2; echo the end >&2; exit 1")).error;
    EXPECT_LT(error.size(), 5000u);
    EXPECT_NE(error.find("\nthe end"), std::string::npos);
}

TEST(worker_exec, a_program_that_cannot_be_executed_is_found_before_any_job) {
    const auto complaint = [](const std::string& name) -> std::string {
        try {
            haul::core::make_exec_handler({name});
        } catch (const haul::error& refused) {
            return refused.what();
        }
        return "none";
    };
    const temporary_directory directory;
    const auto script = directory.write("script", "#!/bin/sh\ncat >/dev/null\n");
    EXPECT_THAT(complaint("/nonexistent/program"), testing::HasSubstr("No such file"));
    EXPECT_THAT(complaint(script), testing::HasSubstr("Permission denied"));
    EXPECT_THAT(complaint("/tmp"), testing::HasSubstr("directory"));
    EXPECT_THAT(complaint("no-such-program"), testing::HasSubstr("in PATH"));
    EXPECT_EQ(complaint("sh"), "none");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    EXPECT_EQ(complaint(script), "none");
    EXPECT_THROW(haul::core::make_exec_handler({}), haul::error);

    const auto run = haul::core::make_exec_handler({script});
    expect<haul::completed>(run(fake_job{}));
    std::filesystem::remove(script);
    EXPECT_THROW(run(fake_job{}), std::system_error) << "it went away later";
}

TEST(worker_exec, without_descriptors_the_job_is_not_to_blame) {
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const auto run = haul::core::make_exec_handler({"cat"});
    expect<haul::completed>(run(fake_job{}));
    const fake_job job;
    for (const rlim_t left : {0, 3, 8, 10, 13}) {
        const haul::core::descriptor next{::dup(0)};
        rlimit few = before;
        few.rlim_cur = static_cast<rlim_t>(next.get()) + left;
        ::setrlimit(RLIMIT_NOFILE, &few);
        EXPECT_THROW(run(job), haul::core::unavailable) << left;
    }
    ::setrlimit(RLIMIT_NOFILE, &before);
    expect<haul::completed>(run(job));
}

TEST(worker_exec, the_program_inherits_no_descriptor_and_no_signal_mask) {
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    const auto how = expect<haul::completed>(sh("ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status"));
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    EXPECT_EQ(how.result, "\"4\\nSigBlk:\\t0000000000000000\"") << "0 to 2, and that of ls on the directory";
}

TEST(worker_exec, a_background_process_does_not_hold_up_the_job) {
    const temporary_directory directory;
    const auto file = (directory.path() / "pid").string();
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_EQ(expect<haul::completed>(sh("sleep 600 & echo $! >" + file + "; echo 1")).result, "1");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 60s);
    ::kill(pid_in(file), SIGKILL);
}

TEST(worker_exec, a_timeout_ends_the_whole_group) {
    const temporary_directory directory;
    const auto file = (directory.path() / "pid").string();
    fake_job job;
    job.until = std::chrono::steady_clock::now() + 300ms;
    // The grandchild ignores the polite signal.
    expect<haul::completed>(
        sh("(trap '' TERM; sleep 600 & wait; wait) & echo $! >" + file + "; sleep 600", job));
    EXPECT_NE(job.logged.find("killed by signal 15"), std::string::npos) << job.logged;
    const auto grandchild = pid_in(file);
    wait_until([&] { return !is_alive(grandchild); }, "the grandchild is gone");
}

TEST(worker_exec, a_program_may_end_in_its_own_way_when_it_is_told_to) {
    const temporary_directory directory;
    const auto file = (directory.path() / "pid").string();
    fake_job job;
    auto talk = std::async(std::launch::async, [&] {
        return sh("trap 'echo tidied >&2; exit 3' TERM; echo $$ >" + file + "; while :; do sleep 0.01; done",
                  job);
    });
    pid_in(file);
    job.killed.set();
    expect<haul::completed>(talk.get());
    EXPECT_NE(job.logged.find("exit status 3"), std::string::npos) << job.logged;
    EXPECT_NE(job.logged.find("tidied"), std::string::npos) << job.logged;
}

TEST(worker_exec, an_outcome_chosen_after_being_told_to_end_stands) {
    const temporary_directory directory;
    const auto file = (directory.path() / "pid").string();
    fake_job job;
    auto talk = std::async(std::launch::async, [&] {
        return sh("trap 'echo 5; exit 75' TERM; echo $$ >" + file + "; while :; do sleep 0.01; done", job);
    });
    pid_in(file);
    job.killed.set();
    EXPECT_EQ(expect<haul::snooze>(talk.get()).delay, 5s);
}

TEST(worker_exec, force_does_not_ask) {
    const temporary_directory directory;
    const auto file = (directory.path() / "pid").string();
    fake_job job;
    const auto begun = std::chrono::steady_clock::now();
    auto talk = std::async(std::launch::async, [&] {
        return sh("trap '' TERM; echo $$ >" + file + "; while :; do sleep 0.05; done", job);
    });
    const auto program = pid_in(file);
    job.killed.set();
    job.forced = true;
    expect<haul::completed>(talk.get());
    EXPECT_NE(job.logged.find("killed by signal 9"), std::string::npos) << job.logged;
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 4s) << "it would be killed anyway after some seconds";
    EXPECT_FALSE(is_alive(program));
}

TEST(worker_builtin, handlers) {
    using haul::core::make_builtin_handler;
    fake_job job;
    expect<haul::completed>(make_builtin_handler("noop")(job));
    EXPECT_EQ(expect<haul::completed>(make_builtin_handler("echo")(job)).result, "{}");
    expect<haul::fail_for_good>(make_builtin_handler("sleep")(job));
    job.given_args = {{"seconds", 0.001}, {"message", "as you like"}};
    expect<haul::completed>(make_builtin_handler("sleep")(job));
    EXPECT_EQ(expect<haul::retry>(make_builtin_handler("fail")(job)).error, "as you like");
    EXPECT_THROW(make_builtin_handler("nap"), haul::error);
}

TEST(worker_plugin, what_is_no_plugin_is_refused) {
    EXPECT_THROW(haul::core::make_plugin_handler("/nonexistent.so"), haul::error);
    EXPECT_THROW(haul::core::make_plugin_handler("libc.so.6"), haul::error)
        << "not looked for in the library path";
}

TEST(worker_plugin, of_another_version_is_refused) {
    const haul::test::temporary_directory directory;
    const auto source = directory.write(
        "later.cpp", "#include <haul/plugin.hpp>\n"
                     "static haul::outcome nothing(const haul::job_context&) { return haul::completed{}; }\n"
                     "extern \"C\" const haul::plugin_entry haul_plugin;\n"
                     "const haul::plugin_entry haul_plugin{haul::plugin_interface + DISTANCE,\n"
                     "                                     haul::detail::this_build, nothing};\n");
    const auto object = [&](const std::string& distance) {
        const auto file = (directory.path() / ("later" + distance + ".so")).string();
        haul::test::run({"g++", "-std=c++17", "-shared", "-fPIC", "-DDISTANCE=" + distance, "-I",
                         HAUL_SOURCE_DIR "/worker/include", "-I", HAUL_SOURCE_DIR "/client-cpp/include",
                         source, "-o", file});
        return file;
    };
    EXPECT_TRUE(haul::core::make_plugin_handler(object("0")));
    for (const auto* distance : {"1", "-1"}) {
        try {
            haul::core::make_plugin_handler(object(distance));
            ADD_FAILURE() << "it was loaded";
        } catch (const haul::error& refused) {
            EXPECT_THAT(refused.what(), testing::HasSubstr("was built for another version of haul"));
        }
    }
}

TEST(worker_plugin, built_with_other_flags_is_refused) {
    const haul::test::temporary_directory directory;
    const auto source = directory.write(
        "count.cpp", "#include <haul/plugin.hpp>\n"
                     "static haul::outcome count(const haul::job_context&) { return haul::completed{}; }\n"
                     "HAUL_PLUGIN(count)\n");
    const auto complaint = [&](const std::vector<std::string>& flags) -> std::string {
        // Each under a name of its own: what is loaded stays.
        const auto object =
            (directory.path() / ("count" + (flags.empty() ? "" : flags.front()) + ".so")).string();
        std::vector<std::string> command{"g++", "-std=c++17", "-shared", "-fPIC"};
        if (const std::string sanitizer = HAUL_SANITIZER_FLAGS; !sanitizer.empty())
            command.push_back(sanitizer);
        command.insert(command.end(), flags.begin(), flags.end());
        command.insert(command.end(), {"-I", HAUL_SOURCE_DIR "/worker/include", "-I",
                                       HAUL_SOURCE_DIR "/client-cpp/include", source, "-o", object});
        haul::test::run(command);
        try {
            haul::core::make_plugin_handler(object);
            return "";
        } catch (const haul::error& refused) {
            return refused.what();
        }
    };
    EXPECT_EQ(complaint({}), "");
    EXPECT_THAT(complaint({"-D_GLIBCXX_DEBUG"}), testing::HasSubstr("_GLIBCXX_DEBUG 1 (worker: 0)"));
    EXPECT_THAT(complaint({"-D_GLIBCXX_USE_CXX11_ABI=0"}),
                testing::HasSubstr("size of std::string 8 (worker: 32)"));
    EXPECT_THAT(complaint({"-DJSON_DIAGNOSTICS=1"}), testing::HasSubstr("size of nlohmann::json"));
}

TEST(worker_sql, wants_a_schema_and_a_name) {
    EXPECT_THROW(haul::core::make_sql_handler("refresh"), haul::error);
    EXPECT_THROW(haul::core::make_sql_handler(".refresh"), haul::error);
    EXPECT_THROW(haul::core::make_sql_handler("app."), haul::error);
}

} // namespace
