#include "command_line.hpp"

#include "config_keys.hpp"
#include "help_formatter.hpp"
#include "queue_spec.hpp"

#include <algorithm>
#include <charconv>
#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

namespace haul::program {

namespace {

/// The flags of "haul run" as they were given.
struct run_flags {
    std::optional<std::string> config;
    std::optional<std::string> dsn;
    std::optional<std::string> identifier;
    std::optional<std::string> name_space;
    std::vector<std::string> queues;
    std::optional<std::string> priority;
    std::optional<std::string> threads;
    std::optional<double> poll_interval;
    std::optional<double> wait_for_database;
    std::optional<std::string> wait;
    bool no_listen = false;
    std::vector<std::string> handlers;
    std::optional<std::string> log_file;
    std::optional<std::string> log_level;
    bool quiet = false;
    bool exit_when_empty = false;
    std::optional<double> exit_after;
};

int integer(const std::string& text, const std::string& range) {
    int value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || problem != std::errc{} || end != text.data() + text.size())
        throw error{"\"" + range + "\" is no range MIN:MAX of whole numbers"};
    return value;
}

/// "2:8", or "8" for 8:8.
std::pair<int, int> range(const std::string& text, int most) {
    const auto colon = text.find(':');
    const int low = integer(text.substr(0, colon), text);
    const int high = colon == std::string::npos ? low : integer(text.substr(colon + 1), text);
    if (low < 1 || high > most || low > high)
        throw error{"\"" + text + "\" is no range within 1:" + std::to_string(most)};
    return {low, high};
}

/// "KIND=TYPE:WORD…"; the words of a program are separated by blanks.
handler_spec parsed_handler(const std::string& text) {
    const auto equals = text.find('=');
    const auto colon = text.find(':', equals);
    if (equals == std::string::npos || colon == std::string::npos)
        throw error{"\"" + text + "\" is not of the form KIND=TYPE:WHAT, such as mail=exec:./mail.sh"};
    const std::string type = text.substr(equals + 1, colon - equals - 1);
    std::vector<std::string> words;
    if (type == "exec") {
        std::istringstream stream{text.substr(colon + 1)};
        for (std::string word; stream >> word;)
            words.push_back(word);
    } else {
        words.push_back(text.substr(colon + 1));
    }
    return make_handler_spec(text.substr(0, equals), type, std::move(words));
}

/// Runs `function`; its complaints then name the flag.
template <typename Function>
void naming_flag(const std::string& flag, Function&& function) {
    try {
        function();
    } catch (const error& e) {
        throw usage_error{flag + ": " + e.what()};
    }
}

void apply_handlers(const std::vector<std::string>& flags, std::vector<handler_spec>& handlers) {
    std::set<std::string> kinds;
    for (const auto& flag : flags) {
        handler_spec spec = parsed_handler(flag);
        if (!kinds.insert(spec.kind).second)
            throw error{"kind \"" + spec.kind + "\" is given twice"};
        const auto is_same_kind = [&](const handler_spec& other) { return other.kind == spec.kind; };
        handlers.erase(std::remove_if(handlers.begin(), handlers.end(), is_same_kind), handlers.end());
        handlers.push_back(std::move(spec));
    }
}

void apply_wait(const run_flags& flags, worker_options& worker) {
    if (flags.wait)
        naming_flag("--wait", [&] { worker.wait = wait_mode_named(*flags.wait); });
    if (!flags.no_listen)
        return;
    if (flags.wait && worker.wait != wait_mode::poll)
        throw usage_error{"--wait " + *flags.wait + " contradicts --no-listen, which means --wait poll"};
    worker.wait = wait_mode::poll;
}

void apply(const run_flags& flags, settings& into) {
    auto& worker = into.worker;
    worker.dsn = flags.dsn.value_or(worker.dsn);
    worker.identifier = flags.identifier.value_or(worker.identifier);
    worker.name_space = flags.name_space.value_or(worker.name_space);
    if (!flags.queues.empty()) {
        worker.queues.clear();
        worker.exclude.clear();
        worker.weighted = false;
        naming_flag("--queue", [&] {
            for (const auto& spec : flags.queues)
                add_queues(worker, spec);
        });
    }
    if (flags.priority) {
        naming_flag("--priority", [&] {
            std::tie(worker.min_priority, worker.max_priority) = range(*flags.priority, max_priority_limit);
        });
    }
    if (flags.threads) {
        naming_flag("--threads", [&] {
            std::tie(worker.min_threads, worker.max_threads) = range(*flags.threads, max_threads_limit);
        });
    }
    if (flags.poll_interval)
        worker.polling_interval = seconds_to_ms(*flags.poll_interval);
    if (flags.wait_for_database)
        worker.wait_for_database = seconds_to_ms(*flags.wait_for_database);
    if (flags.exit_after)
        worker.exit_after = seconds_to_ms(*flags.exit_after);
    apply_wait(flags, worker);
    worker.exit_when_empty = flags.exit_when_empty;
    worker.log.file = flags.log_file.value_or(worker.log.file);
    if (flags.log_level)
        naming_flag("--log-level", [&] { worker.log.level = checked_log_level(*flags.log_level); });
    worker.log.quiet = worker.log.quiet || flags.quiet;
    naming_flag("--handler", [&] { apply_handlers(flags.handlers, into.handlers); });
}

void add_run_options(CLI::App& run, run_flags& flags) {
    run.add_option("--config", flags.config, "YAML file, see \"haul help config\"; flags go before it")
        ->type_name("FILE");
    run.add_option("--dsn", flags.dsn, "Connection string; default: libpq's environment variables")
        ->type_name("DSN");
    run.add_option("--identifier", flags.identifier, "Name of the worker; default: host name and process id")
        ->type_name("NAME")
        ->check(CLI::Validator{[](std::string& s) { return s.empty() ? "must not be empty" : ""; }, ""});
    run.add_option("--namespace", flags.name_space, "Take only queues named NAMESPACE.…")
        ->type_name("NAMESPACE")
        ->check(CLI::Validator{[](std::string& s) { return s.empty() ? "must not be empty" : ""; }, ""});
    run.add_option(
           "--queue", flags.queues,
           "Queues to take: a,b in this order; -a,b all but these; a:8,b:1 by weight; * all. Repeatable")
        ->type_name("QUEUES")
        ->expected(1)
        ->take_all();
    run.add_option("--priority", flags.priority, "Take only jobs of these priorities, 1 to 32767")
        ->type_name("MIN:MAX");
    run.add_option("--threads", flags.threads,
                   "Jobs run at a time; threads kept when idle; N means N:N; default 1:10")
        ->type_name("MIN:MAX");
    run.add_option(
           "--handler", flags.handlers,
           "Run jobs of a kind by builtin:NAME, exec:PROGRAM ARGUMENT…, sql:SCHEMA.FUNCTION or plugin:PATH. "
           "Repeatable")
        ->type_name("KIND=TYPE:WHAT")
        ->expected(1)
        ->take_all();
    run.add_option("--wait", flags.wait,
                   "How an idle worker learns of new jobs: listen, call (the way through PgBouncer) or poll; "
                   "default listen")
        ->type_name("WAY");
    run.add_flag("--no-listen", flags.no_listen, "The same as --wait poll");
    run.add_option("--poll-interval", flags.poll_interval, "How often to look for jobs when idle; default 60")
        ->type_name("SECONDS")
        ->check(CLI::Range(shortest_seconds, longest_seconds).description(""));
    run.add_option(
           "--wait-for-database", flags.wait_for_database,
           "How long to try again when the database is away at the start; default 0, or 300 under systemd "
           "and in a container")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.0, longest_seconds).description(""));
    run.add_flag("--exit-when-empty", flags.exit_when_empty, "End when nothing is due and nothing runs");
    run.add_option("--exit-after", flags.exit_after, "End after this time")
        ->type_name("SECONDS")
        ->check(CLI::Range(shortest_seconds, longest_seconds).description(""));
    run.add_option("--log-file", flags.log_file, "Log to this file instead of standard error")
        ->type_name("FILE");
    run.add_option("--log-level", flags.log_level, "trace, debug, info, warning, error or off; default info")
        ->type_name("LEVEL");
    run.add_flag("--quiet", flags.quiet, "Nothing on standard error");
}

/// haul run, as its flags and the file say.
command run_command(const run_flags& flags) {
    command result;
    result.what = command::verb::run;
    result.settings.worker.wait_for_database = default_wait_for_database();
    if (flags.config)
        read_config(*flags.config, result.settings);
    apply(flags, result.settings);
    check(result.settings);
    if (result.settings.handlers.empty())
        throw usage_error{
            "no handlers: nothing to run", "", "",
            "Name some with --handler KIND=TYPE:WHAT or under \"handlers\" in the file of --config."};
    return result;
}

command printed(std::string text) {
    return {command::verb::print, std::move(text), {}};
}

} // namespace

command parse_command_line(const std::vector<std::string>& arguments) {
    CLI::App app{"Runs background jobs of PostgreSQL databases with the extension pg_haul.", "haul"};
    app.formatter(std::make_shared<help_formatter>());
    app.require_subcommand(
        0, 1); // that there is one is checked below: CLI11 would not name what it did not know
    app.set_version_flag("--version", "haul " HAUL_VERSION, "Print the version and exit");

    run_flags flags;
    CLI::App* run = app.add_subcommand("run", "Run a worker in the foreground");
    add_run_options(*run, flags);

    std::string info_dsn;
    CLI::App* info = app.add_subcommand("info", "Show hosts, workers, queues and late jobs");
    info->add_option("--dsn", info_dsn, "Connection string; default: libpq's environment variables")
        ->type_name("DSN");

    std::string topic;
    CLI::App* help = app.add_subcommand("help", "Print help on the program or on a command");
    help->add_option("command", topic, "Command, or \"config\": the keys of the configuration file");

    const std::string overview = app.help(); // once a command is parsed, CLI11 gives that command's help

    try {
        app.parse(std::vector<std::string>{arguments.rbegin(), arguments.rend()});
    } catch (const CLI::CallForHelp&) {
        return printed(app.help());
    } catch (const CLI::CallForVersion& e) {
        return printed(std::string{e.what()} + '\n');
    } catch (const CLI::ParseError& e) {
        throw usage_error{e.what(), "", "", "\"haul help\" tells what there is."};
    }

    if (run->parsed())
        return run_command(flags);
    if (info->parsed()) {
        command result;
        result.what = command::verb::info;
        result.settings.worker.dsn = info_dsn;
        return result;
    }
    if (!help->parsed())
        throw usage_error{"no command is given", "", "", "\"haul help\" tells what there is."};
    if (topic == "config")
        return printed(config_help());
    try {
        return printed(topic.empty() ? overview : app.get_subcommand(topic)->help("haul"));
    } catch (const CLI::OptionNotFound&) {
        throw usage_error{"no help on \"" + topic + "\": no such command"};
    }
}

} // namespace haul::program
