#include "config.hpp"

#include "queue_spec.hpp"
#include "text.hpp"
#include "yaml_entry.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <yaml-cpp/yaml.h>

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

// What two keys say about the same thing, in whatever order, must agree.
void check_wait(const std::vector<yaml_entry>& keys) {
    const auto find = [&](const char* key) {
        return std::find_if(keys.begin(), keys.end(), [&](const auto& one) { return one.key() == key; });
    };
    const auto listener = find("enable_listener"), wait = find("wait");
    if (listener != keys.end() && wait != keys.end() && read_listener(*listener) != read_wait(*wait))
        wait->fail("\"" + wait->text() + "\" contradicts enable_listener: " +
                   (listener->boolean() ? "true" : "false") + "; leave enable_listener out");
}

using reader = std::function<void(const yaml_entry&, settings&)>;

const std::map<std::string, reader>& readers() {
    static const std::map<std::string, reader> all = {
        {"dsn", [](const yaml_entry& e, settings& s) { s.worker.dsn = e.text(); }},
        {"identifier", [](const yaml_entry& e, settings& s) { s.worker.identifier = e.text(255); }},
        {"namespace", [](const yaml_entry& e, settings& s) { s.worker.name_space = e.text(61); }},
        {"queues", [](const yaml_entry& e, settings& s) { read_queues(e, s.worker); }},
        {"exclude", [](const yaml_entry& e, settings& s) { read_exclude(e, s.worker); }},
        {"min_priority",
         [](const yaml_entry& e, settings& s) { s.worker.min_priority = e.integer(1, max_priority_limit); }},
        {"max_priority",
         [](const yaml_entry& e, settings& s) { s.worker.max_priority = e.integer(1, max_priority_limit); }},
        {"min_threads",
         [](const yaml_entry& e, settings& s) { s.worker.min_threads = e.integer(1, max_threads_limit); }},
        {"max_threads",
         [](const yaml_entry& e, settings& s) { s.worker.max_threads = e.integer(1, max_threads_limit); }},
        {"max_thread_idletime",
         [](const yaml_entry& e, settings& s) { s.worker.max_thread_idletime = e.seconds(0); }},
        {"enable_listener", [](const yaml_entry& e, settings& s) { s.worker.wait = read_listener(e); }},
        {"wait", [](const yaml_entry& e, settings& s) { s.worker.wait = read_wait(e); }},
        {"polling_interval",
         [](const yaml_entry& e, settings& s) { s.worker.polling_interval = e.seconds(); }},
        {"polling_jitter",
         [](const yaml_entry& e, settings& s) { s.worker.polling_jitter = e.number(0, 1); }},
        {"heartbeat_interval",
         [](const yaml_entry& e, settings& s) { s.worker.heartbeat_interval = e.seconds(); }},
        {"refusal_timeout",
         [](const yaml_entry& e, settings& s) { s.worker.refusal_timeout = e.seconds(0); }},
        {"wait_for_database",
         [](const yaml_entry& e, settings& s) { s.worker.wait_for_database = e.seconds(0); }},
        {"set_db_connection_name",
         [](const yaml_entry& e, settings& s) { s.worker.set_db_connection_name = e.boolean(); }},
        {"wait_for_termination",
         [](const yaml_entry& e, settings& s) { s.worker.wait_for_termination = read_termination(e); }},
        {"log_file", [](const yaml_entry& e, settings& s) { s.worker.log.file = e.text(); }},
        {"log_level",
         [](const yaml_entry& e, settings& s) {
             s.worker.log.level = e.naming_place([&] { return checked_log_level(e.text()); });
         }},
        {"log_size",
         [](const yaml_entry& e, settings& s) { s.worker.log.size = e.integer(1024, 1LL << 40); }},
        {"log_count", [](const yaml_entry& e, settings& s) { s.worker.log.count = e.integer(1, 1000); }},
        {"quiet", [](const yaml_entry& e, settings& s) { s.worker.log.quiet = e.boolean(); }},
        {"handlers", [](const yaml_entry& e, settings& s) { read_handlers(e, s); }},
    };
    return all;
}

std::string known_keys() {
    std::string list;
    for (const auto& [key, read] : readers())
        list += (list.empty() ? "" : ", ") + key;
    return list;
}

std::string content_of(const std::string& file) {
    std::error_code none;
    if (std::filesystem::is_directory(file, none))
        throw usage_error{"the configuration file " + file + " is a directory"};
    std::ifstream in{file, std::ios::binary};
    std::string content;
    if (in)
        content.assign(std::istreambuf_iterator<char>{in}, {});
    if (!in)
        throw usage_error{"cannot read the configuration file " + file + ": " +
                          std::generic_category().message(errno)};
    return content;
}

/// The parser's complaints about a tab at the beginning of a line do not speak of it.
std::string tab_note(const std::string& content, int line) {
    std::istringstream lines{content};
    std::string text;
    for (int i = 0; i <= line && std::getline(lines, text); ++i) {
        if (text.find_first_not_of(' ') == text.find('\t') && text.find('\t') != std::string::npos)
            return "; line " + std::to_string(i + 1) + " is indented by a tab, where YAML takes blanks only";
    }
    return "";
}

YAML::Node load(const std::string& file) {
    const std::string content = content_of(file);
    try {
        const auto documents = YAML::LoadAll(content);
        if (documents.size() > 1)
            throw usage_error{yaml_place(file, documents[1].Mark()) +
                              ": a second document, which nobody would read"};
        return documents.empty() ? YAML::Node{} : documents.front();
    } catch (const YAML::Exception& e) {
        throw usage_error{yaml_place(file, e.mark) + ": " + e.msg + tab_note(content, e.mark.line)};
    }
}

} // namespace

void read_config(const std::string& file, settings& into) {
    const YAML::Node document = load(file);
    const yaml_entry root{file, "", "", document, document};
    if (!root.is_mapping())
        throw usage_error{file + ": must have the root key \"haul\""};
    for (const auto& top : root.members()) {
        if (top.key() != "haul")
            top.fail("unknown key; everything stands under the root key \"haul\"");
        const auto members = top.members();
        for (const auto& member : members) {
            const auto found = readers().find(member.key());
            if (found == readers().end())
                member.fail("unknown key; keys are " + known_keys());
            found->second(member, into);
        }
        check_wait(members);
    }
}

void check(const settings& settings) {
    const auto& worker = settings.worker;
    for (const auto& [what, name] :
         {std::pair{"identifier", worker.identifier}, {"namespace", worker.name_space}}) {
        if (!core::is_utf8(name))
            throw usage_error{std::string{what} + " must be UTF-8 text"};
    }
    if (worker.min_priority > worker.max_priority)
        throw usage_error{"min_priority (" + std::to_string(worker.min_priority) +
                          ") is above max_priority (" + std::to_string(worker.max_priority) + ")"};
    if (worker.min_threads > worker.max_threads)
        throw usage_error{"min_threads (" + std::to_string(worker.min_threads) + ") is above max_threads (" +
                          std::to_string(worker.max_threads) + ")"};
}

std::string checked_log_level(const std::string& name) {
    for (const char* level : {"trace", "debug", "info", "warning", "error", "off"}) {
        if (name == level)
            return name;
    }
    throw error{"unknown log level \"" + name + "\": levels are trace, debug, info, warning, error, off"};
}

std::chrono::milliseconds default_wait_for_database() {
    const bool service = std::getenv("INVOCATION_ID") || std::getenv("KUBERNETES_SERVICE_HOST") ||
                         ::getpid() == 1 || ::access("/.dockerenv", F_OK) == 0 ||
                         ::access("/run/.containerenv", F_OK) == 0;
    const bool watched = ::isatty(STDERR_FILENO) != 0; // by somebody, who would rather know
    return service && !watched ? std::chrono::minutes{5} : std::chrono::minutes{0};
}

wait_mode wait_mode_named(const std::string& name) {
    static const std::map<std::string, wait_mode> modes = {
        {"listen", wait_mode::listen}, {"call", wait_mode::call}, {"poll", wait_mode::poll}};
    const auto found = modes.find(name);
    if (found == modes.end())
        throw error{"unknown way to wait \"" + name + "\": ways are listen, call, poll"};
    return found->second;
}

std::chrono::milliseconds seconds_to_ms(double seconds) {
    return std::chrono::milliseconds{std::llround(seconds * 1000)};
}

} // namespace haul::program
