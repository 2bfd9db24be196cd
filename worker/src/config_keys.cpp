#include "config_keys.hpp"

#include "handler_types.hpp"
#include "queue_spec.hpp"

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <type_traits>
#include <utility>

namespace haul::program {

namespace {

/// One queue, as text in the syntax of flags, or as a mapping where the name has characters of that syntax.
void read_queue(const yaml_entry& item, worker_options& worker) {
    if (item.is_text())
        return add_queues(worker, item.text());
    queue_choice queue;
    for (const auto& member : item.members()) {
        if (member.key() == "name") {
            queue.name = member.text();
        } else if (member.key() == "weight") {
            queue.weight = member.number(1e-6, 1e6);
            worker.weighted = true;
        } else {
            member.fail("unknown key; a queue has name and weight");
        }
    }
    add_queue(worker, std::move(queue));
}

void read_queues(const yaml_entry& queues, worker_options& worker) {
    if (queues.is_list() && queues.items().empty())
        queues.fail("names no queue; leave the key out to take all");
    for (const auto& item : queues.is_list() ? queues.items() : std::vector<yaml_entry>{queues})
        item.naming_place([&] { read_queue(item, worker); });
}

void read_exclude(const yaml_entry& exclude, worker_options& worker) {
    for (const auto& item : exclude.items())
        item.naming_place([&] { exclude_queue(worker, item.text()); });
}

termination read_termination(const yaml_entry& e) {
    using mode = termination::mode;
    if (e.is_boolean())
        return {e.boolean() ? mode::wait_forever : mode::abandon, {}};
    return {mode::limited, e.seconds(0)};
}

void read_handlers(const yaml_entry& handlers, settings& into) {
    for (const auto& handler : handlers.members()) {
        const auto how = handler.members();
        if (how.size() != 1)
            handler.fail("must have one key, its type: builtin, exec, sql or plugin");
        const yaml_entry& type = how.front();
        const auto words = type.key() == "exec" ? type.texts() : std::vector<std::string>{type.text()};
        into.handlers.push_back(
            type.naming_place([&] { return make_handler_spec(handler.key(), type.key(), words); }));
    }
}

// An older key for two of the values of "wait".
wait_mode read_listener(const yaml_entry& e) {
    return e.boolean() ? wait_mode::listen : wait_mode::poll;
}

wait_mode read_wait(const yaml_entry& e) {
    return e.naming_place([&] { return wait_mode_named(e.text()); });
}

/* Keys of one type each. `place` gives the option that a key sets; its default is that of the option. */

template <typename Place>
using value_at = std::decay_t<std::invoke_result_t<Place, worker_options&>>;

std::string plain(double number) {
    std::ostringstream text;
    text << std::setprecision(10) << number;
    return text.str();
}

std::string range(double least, double most) {
    return plain(least) + " to " + plain(most);
}

template <typename Place>
config_key text(const char* name, const char* standard, const char* meaning, Place place) {
    return {name, "text", standard, meaning,
            [=](const yaml_entry& e, settings& s) { place(s.worker) = e.text(); }};
}

template <typename Place>
config_key text(const char* name, std::size_t longest, const char* standard, const char* meaning,
                Place place) {
    return {name, "text, 1 to " + std::to_string(longest) + " characters", standard, meaning,
            [=](const yaml_entry& e, settings& s) { place(s.worker) = e.text(longest); }};
}

template <typename Place>
config_key integer(const char* name, long long least, long long most, const char* meaning, Place place) {
    worker_options options;
    return {name, "whole number, " + range(static_cast<double>(least), static_cast<double>(most)),
            std::to_string(place(options)), meaning, [=](const yaml_entry& e, settings& s) {
                place(s.worker) = static_cast<value_at<Place>>(e.integer(least, most));
            }};
}

template <typename Place>
config_key number(const char* name, double least, double most, const char* meaning, Place place) {
    worker_options options;
    return {name, "number, " + range(least, most), plain(place(options)), meaning,
            [=](const yaml_entry& e, settings& s) { place(s.worker) = e.number(least, most); }};
}

std::string seconds_from(double least) {
    return "seconds, " + range(least, longest_seconds);
}

template <typename Place>
config_key seconds(const char* name, double least, const char* meaning, Place place) {
    worker_options options;
    return {name, seconds_from(least), plain(static_cast<double>(place(options).count()) / 1000), meaning,
            [=](const yaml_entry& e, settings& s) { place(s.worker) = e.seconds(least); }};
}

template <typename Place>
config_key boolean(const char* name, const char* meaning, Place place) {
    worker_options options;
    return {name, "true or false", place(options) ? "true" : "false", meaning,
            [=](const yaml_entry& e, settings& s) { place(s.worker) = e.boolean(); }};
}

/// Indented, in lines of at most `width` bytes.
std::string paragraph(const std::string& text, std::size_t indent, std::size_t width = 110) {
    std::istringstream words{text};
    std::string lines, line;
    for (std::string word; words >> word;) {
        if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
            lines += std::string(indent, ' ') + line + "\n";
            line.clear();
        }
        line += (line.empty() ? "" : " ") + word;
    }
    return lines + std::string(indent, ' ') + line + "\n";
}

} // namespace

const std::vector<config_key>& config_keys() {
    using options = worker_options;
    static const std::vector<config_key> all = {
        text(
            "dsn", "libpq's environment variables", "connection string or URI",
            [](options & o) -> auto& { return o.dsn; }),
        text(
            "identifier", 255, "host name and process id", "name of the worker",
            [](options & o) -> auto& { return o.identifier; }),
        text(
            "namespace", 61, "none", "take only queues named NAMESPACE.…",
            [](options & o) -> auto& { return o.name_space; }),
        {"queues", "list, or text", "all",
         "queues to take, in this order; [a:8, b:1] or {name: a, weight: 8} draws by weight, 0.000001 to "
         "1000000; "
         "text as in --queue",
         [](const yaml_entry& e, settings& s) { read_queues(e, s.worker); }},
        {"exclude", "list", "none", "queues not to take",
         [](const yaml_entry& e, settings& s) { read_exclude(e, s.worker); }},
        integer(
            "min_priority", 1, max_priority_limit, "take no jobs before this priority; 1 is the first",
            [](options & o) -> auto& { return o.min_priority; }),
        integer(
            "max_priority", 1, max_priority_limit, "take no jobs after this priority",
            [](options & o) -> auto& { return o.max_priority; }),
        integer(
            "min_threads", 1, max_threads_limit, "threads kept when idle",
            [](options & o) -> auto& { return o.min_threads; }),
        integer(
            "max_threads", 1, max_threads_limit, "jobs run at a time",
            [](options & o) -> auto& { return o.max_threads; }),
        seconds(
            "max_thread_idletime", 0, "an idle thread above min_threads ends after this",
            [](options & o) -> auto& { return o.max_thread_idletime; }),
        {"wait", "listen, call or poll", "listen",
         "how an idle worker learns of new jobs: by LISTEN, waiting in haul.checkout_wait() (the way through "
         "PgBouncer), or by looking now and then",
         [](const yaml_entry& e, settings& s) { s.worker.wait = read_wait(e); }},
        {"enable_listener", "true or false", "true", "false is wait: poll",
         [](const yaml_entry& e, settings& s) { s.worker.wait = read_listener(e); }},
        seconds(
            "polling_interval", shortest_seconds, "how often an idle worker looks anyway",
            [](options & o) -> auto& { return o.polling_interval; }),
        number(
            "polling_jitter", 0, 1, "fraction by which that varies: 0.1 of 60 s is 57 to 63 s",
            [](options & o) -> auto& { return o.polling_jitter; }),
        seconds(
            "heartbeat_interval", shortest_seconds,
            "how often the worker says that it lives; shortened to a fifth of the server's "
            "haul.worker_timeout",
            [](options & o) -> auto& { return o.heartbeat_interval; }),
        seconds(
            "refusal_timeout", 0,
            "the worker ends with status 1 when the server has refused its calls for so long, for a reason "
            "that only an administrator can mend",
            [](options & o) -> auto& { return o.refusal_timeout; }),
        {"wait_for_database", seconds_from(0), "0; as a service or in a container 300",
         "how long to try again when the database is away at the start",
         [](const yaml_entry& e, settings& s) { s.worker.wait_for_database = e.seconds(0); }},
        boolean(
            "set_db_connection_name", "application_name tells the connections apart",
            [](options & o) -> auto& { return o.set_db_connection_name; }),
        {"wait_for_termination", "true, false, or " + seconds_from(0), "true",
         "about jobs that run when the worker is told to stop: true waits for ever, N waits and then kills, "
         "0 "
         "kills, false does neither",
         [](const yaml_entry& e, settings& s) { s.worker.wait_for_termination = read_termination(e); }},
        text(
            "log_file", "standard error", "where log lines go",
            [](options & o) -> auto& { return o.log.file; }),
        {"log_level", "trace, debug, info, warning, error or off", worker_options{}.log.level,
         "which lines are logged",
         [](const yaml_entry& e, settings& s) {
             s.worker.log.level = e.naming_place([&] { return checked_log_level(e.text()); });
         }},
        integer(
            "log_size", 1024, 1LL << 40, "bytes of a log file before it is rotated",
            [](options & o) -> auto& { return o.log.size; }),
        integer(
            "log_count", 1, 1000, "rotated files kept", [](options & o) -> auto& { return o.log.count; }),
        boolean(
            "quiet", "nothing on standard error", [](options & o) -> auto& { return o.log.quiet; }),
        {"handlers", "mapping of kinds to handlers", "none", "what runs jobs of which kind, see below",
         [](const yaml_entry& e, settings& s) { read_handlers(e, s); }},
    };
    return all;
}

void check_together(const std::vector<yaml_entry>& keys) {
    const auto find = [&](const char* key) {
        return std::find_if(keys.begin(), keys.end(), [&](const auto& one) { return one.key() == key; });
    };
    const auto listener = find("enable_listener"), wait = find("wait");
    if (listener != keys.end() && wait != keys.end() && read_listener(*listener) != read_wait(*wait))
        wait->fail("\"" + wait->text() + "\" contradicts enable_listener: " +
                   (listener->boolean() ? "true" : "false") + "; leave enable_listener out");
}

std::string config_help() {
    std::string text =
        "The YAML file of --config. Everything stands under the root key \"haul\"; flags go before the file, "
        "and "
        "the\nfile before the defaults. An unknown key is an error. Times are numbers of seconds.\n\nKeys:\n";
    for (const auto& key : config_keys()) {
        text += "  " + key.name + ": " + key.values + "; default: " + key.standard + "\n";
        text += paragraph(key.meaning, 6);
    }
    text += "\nHandlers, such as \"handlers: {mail: {exec: [./mail.sh]}}\":\n";
    for (const auto& type : core::handler_types) {
        text += std::string{"  "} + type.name + ": " + type.what + "\n";
        text += paragraph(type.meaning, 6);
    }
    return text;
}

} // namespace haul::program
