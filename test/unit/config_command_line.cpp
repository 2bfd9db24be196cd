#include "command_line.hpp"
#include "config_keys.hpp"
#include "handler_types.hpp"
#include "support/temporary_directory.hpp"

#include <gmock/gmock.h>

namespace haul::program {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using words = std::vector<std::string>;

/// haul run with one handler, which it needs, and more flags.
settings run(words flags) {
    words arguments = {"run", "--handler", "noop=builtin:noop"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const auto command = parse_command_line(arguments);
    EXPECT_EQ(command.what, command::verb::run);
    return command.settings;
}

std::string complaint(const words& arguments) {
    try {
        parse_command_line(arguments);
    } catch (const usage_error& e) {
        return e.what();
    }
    return "";
}

TEST(command_line, flags_of_run) {
    const auto worker = run({"--dsn",
                             "host=/tmp dbname=app",
                             "--identifier",
                             "w1",
                             "--namespace",
                             "billing",
                             "--queue",
                             "a,b",
                             "--queue",
                             "c",
                             "--priority",
                             "5:10",
                             "--threads",
                             "2:8",
                             "--poll-interval",
                             "1.5",
                             "--no-listen",
                             "--log-file",
                             "w.log",
                             "--log-level",
                             "warning",
                             "--quiet",
                             "--exit-when-empty",
                             "--exit-after",
                             "30"})
                            .worker;
    EXPECT_EQ(worker.dsn, "host=/tmp dbname=app");
    EXPECT_EQ(worker.identifier, "w1");
    EXPECT_EQ(worker.name_space, "billing");
    EXPECT_EQ(worker.queues.size(), 3u);
    EXPECT_EQ(worker.min_priority, 5);
    EXPECT_EQ(worker.max_priority, 10);
    EXPECT_EQ(worker.min_threads, 2);
    EXPECT_EQ(worker.max_threads, 8);
    EXPECT_EQ(worker.polling_interval, 1500ms);
    EXPECT_EQ(worker.wait, wait_mode::poll);
    EXPECT_EQ(worker.log.file, "w.log");
    EXPECT_EQ(worker.log.level, "warning");
    EXPECT_TRUE(worker.log.quiet);
    EXPECT_TRUE(worker.exit_when_empty);
    EXPECT_EQ(worker.exit_after, 30s);
}

TEST(command_line, defaults_are_those_of_the_library) {
    const auto worker = run({}).worker;
    const worker_options defaults;
    EXPECT_EQ(worker.dsn, "");
    EXPECT_EQ(worker.min_threads, defaults.min_threads);
    EXPECT_EQ(worker.max_threads, defaults.max_threads);
    EXPECT_EQ(worker.polling_interval, defaults.polling_interval);
    EXPECT_EQ(worker.wait, wait_mode::listen);
    EXPECT_FALSE(worker.exit_when_empty);
    EXPECT_FALSE(worker.exit_after);
}

TEST(command_line, the_way_to_wait_has_two_flags_that_must_agree) {
    EXPECT_EQ(run({"--wait", "listen"}).worker.wait, wait_mode::listen);
    EXPECT_EQ(run({"--wait", "call"}).worker.wait, wait_mode::call);
    EXPECT_EQ(run({"--wait", "poll"}).worker.wait, wait_mode::poll);
    EXPECT_EQ(run({"--no-listen"}).worker.wait, wait_mode::poll);
    EXPECT_EQ(run({"--no-listen", "--wait", "poll"}).worker.wait, wait_mode::poll);
    for (const char* way : {"listen", "call"})
        EXPECT_THAT(complaint({"run", "--handler", "noop=builtin:noop", "--no-listen", "--wait", way}),
                    testing::AllOf(HasSubstr("--no-listen"), HasSubstr("--wait " + std::string{way})));
    EXPECT_THAT(complaint({"run", "--handler", "noop=builtin:noop", "--wait", "sleep"}),
                testing::AllOf(HasSubstr("--wait"), HasSubstr("sleep"), HasSubstr("listen, call, poll")));
}

TEST(command_line, flags_go_before_a_file_that_says_otherwise_how_to_wait) {
    const test::temporary_directory directory;
    const auto with = [&](const std::string& key, const words& flags) {
        words all{"--config", directory.write("w.yml", "haul: {" + key + "}\n")};
        all.insert(all.end(), flags.begin(), flags.end());
        return run(all).worker.wait;
    };
    EXPECT_EQ(with("wait: call", {}), wait_mode::call);
    EXPECT_EQ(with("wait: call", {"--no-listen"}), wait_mode::poll);
    EXPECT_EQ(with("wait: call", {"--wait", "listen"}), wait_mode::listen);
    EXPECT_EQ(with("enable_listener: false", {"--wait", "call"}), wait_mode::call);
    EXPECT_EQ(with("enable_listener: true", {"--no-listen"}), wait_mode::poll);
}

TEST(command_line, an_exclusion_is_no_flag) {
    EXPECT_THAT(run({"--queue", "-a,b"}).worker.exclude, ElementsAre("a", "b"));
    EXPECT_THAT(run({"--queue=-a,b"}).worker.exclude, ElementsAre("a", "b"));
    EXPECT_THAT(run({"--queue", "-a", "--quiet"}).worker.exclude, ElementsAre("a"));
}

TEST(command_line, one_number_is_a_range_of_one) {
    EXPECT_EQ(run({"--threads", "4"}).worker.min_threads, 4);
    EXPECT_EQ(run({"--threads", "4"}).worker.max_threads, 4);
    EXPECT_EQ(run({"--priority", "9"}).worker.min_priority, 9);
}

TEST(command_line, handlers) {
    const auto handlers =
        parse_command_line({"run", "--handler", "noop=builtin:noop", "--handler",
                            "mail=exec:./mail.sh --to x", "--handler", "refresh=sql:app.refresh", "--handler",
                            "count=plugin:./a:b=c.so"})
            .settings.handlers;
    ASSERT_EQ(handlers.size(), 4u);
    EXPECT_EQ(handlers[0].kind, "noop");
    EXPECT_EQ(handlers[1].how, handler_spec::type::exec);
    EXPECT_THAT(handlers[1].words, ElementsAre("./mail.sh", "--to", "x"));
    EXPECT_EQ(handlers[2].how, handler_spec::type::sql);
    EXPECT_THAT(handlers[3].words, ElementsAre("./a:b=c.so"));
}

TEST(command_line, flags_go_before_the_file) {
    const test::temporary_directory directory;
    const std::string file = directory.write("w.yml", "haul:\n"
                                                      "  dsn: file\n"
                                                      "  identifier: file\n"
                                                      "  queues: a:2,b:3\n"
                                                      "  exclude: [c]\n"
                                                      "  max_threads: 20\n"
                                                      "  enable_listener: true\n"
                                                      "  quiet: true\n"
                                                      "  handlers:\n"
                                                      "    noop: {builtin: fail}\n"
                                                      "    echo: {builtin: echo}\n");
    const auto by_file = parse_command_line({"run", "--config", file}).settings.worker;
    EXPECT_EQ(by_file.dsn, "file");
    EXPECT_EQ(by_file.max_threads, 20);
    EXPECT_TRUE(by_file.weighted);
    EXPECT_TRUE(by_file.log.quiet);

    const auto [worker, handlers] =
        run({"--config", file, "--dsn", "flag", "--queue", "x", "--threads", "1:3"});
    EXPECT_EQ(worker.dsn, "flag");
    EXPECT_EQ(worker.identifier, "file");
    ASSERT_EQ(worker.queues.size(), 1u);
    EXPECT_EQ(worker.queues[0].name, "x");
    EXPECT_FALSE(worker.weighted);
    EXPECT_THAT(worker.exclude, IsEmpty());
    EXPECT_EQ(worker.max_threads, 3);
    ASSERT_EQ(handlers.size(), 2u);
    EXPECT_EQ(handlers[0].kind, "echo");
    EXPECT_EQ(handlers[1].kind, "noop");
    EXPECT_THAT(handlers[1].words, ElementsAre("noop"));
}

TEST(command_line, ranges_must_fit_together_in_the_end) {
    const test::temporary_directory directory;
    const std::string file =
        directory.write("w.yml", "haul: {min_threads: 20, min_priority: 3, max_priority: 2}\n");
    EXPECT_THAT(complaint({"run", "--config", file}),
                HasSubstr("min_priority (3) is above max_priority (2)"));
    EXPECT_THAT(complaint({"run", "--config", file, "--priority", "1:9"}),
                HasSubstr("min_threads (20) is above max_threads (10)"));
}

TEST(command_line, refuses_bad_values_and_names_the_flag) {
    const std::pair<const char*, const char*> cases[] = {
        {"--priority", "0:5"},
        {"--priority", "1:32768"},
        {"--priority", "9:5"},
        {"--priority", "a:b"},
        {"--priority", ""},
        {"--priority", "1:2:3"},
        {"--threads", "0"},
        {"--threads", "-1"},
        {"--threads", "99999"},
        {"--poll-interval", "0"},
        {"--poll-interval", "x"},
        {"--exit-after", "-2"},
        {"--exit-after", "1e99"},
        {"--log-level", "loud"},
        {"--queue", "a,,b"},
        {"--queue", ""},
        {"--handler", "x"},
        {"--handler", "x=noop"},
        {"--handler", "x=http:u"},
        {"--handler", "=builtin:noop"},
        {"--handler", "noop=builtin:echo"},
        {"--identifier", ""},
    };
    for (const auto& [flag, value] : cases)
        EXPECT_THAT(complaint({"run", "--handler", "noop=builtin:noop", flag, value}), HasSubstr(flag))
            << value;
}

TEST(command_line, knows_only_what_exists) {
    for (const char* unknown : {"start", "stop", "restart", "cleanup", "daemon", "--daemon"})
        EXPECT_THAT(complaint({unknown}), HasSubstr(unknown));
    EXPECT_THAT(complaint({"run", "--daemon"}), HasSubstr("--daemon"));
    EXPECT_THAT(complaint({"run", "--pidfile", "x"}), HasSubstr("--pidfile"));
    EXPECT_NE(complaint({"run", "extra"}), "");
    EXPECT_NE(complaint({}), "");
}

TEST(command_line, a_worker_needs_handlers) {
    EXPECT_THAT(complaint({"run"}), HasSubstr("no handlers"));
}

TEST(command_line, a_missing_file_is_an_error) {
    EXPECT_THAT(complaint({"run", "--config", "/nonexistent/w.yml"}), HasSubstr("/nonexistent/w.yml"));
}

TEST(command_line, info_takes_a_dsn) {
    const auto command = parse_command_line({"info", "--dsn", "service=app"});
    EXPECT_EQ(command.what, command::verb::info);
    EXPECT_EQ(command.settings.worker.dsn, "service=app");
}

TEST(command_line, help_and_version_are_printed) {
    EXPECT_THAT(parse_command_line({"--version"}).text, testing::MatchesRegex("haul [0-9.]+\n"));
    EXPECT_THAT(parse_command_line({"help"}).text, HasSubstr("info"));
    EXPECT_EQ(parse_command_line({"--help"}).text, parse_command_line({"help"}).text);
    EXPECT_THAT(parse_command_line({"help", "run"}).text, HasSubstr("--exit-when-empty"));
    EXPECT_THAT(parse_command_line({"help", "run"}).text, HasSubstr("\nUsage: haul run [OPTIONS]\n"));
    EXPECT_THAT(parse_command_line({"run", "--help"}).text, HasSubstr("--exit-when-empty"));
    EXPECT_THAT(complaint({"help", "start"}), HasSubstr("start"));
}

TEST(command_line, help_explains_every_key_of_the_file_and_every_type_of_handler) {
    const auto text = parse_command_line({"help", "config"}).text;
    for (const auto& key : config_keys())
        EXPECT_THAT(text,
                    HasSubstr("\n  " + key.name + ": " + key.values + "; default: " + key.standard + "\n"));
    for (const auto& type : core::handler_types)
        EXPECT_THAT(text, HasSubstr(std::string{"\n  "} + type.name + ": " + type.what + "\n"));
    EXPECT_THAT(text, HasSubstr("\n  min_threads: whole number, 1 to 10000; default: 1\n"))
        << "ranges and defaults are those of the program";
}

} // namespace
} // namespace haul::program
