#include "config.hpp"

#include "config_keys.hpp"
#include "text.hpp"
#include "yaml_entry.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <yaml-cpp/yaml.h>

namespace haul::program {

namespace {

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

std::string known_keys() {
    std::string list;
    for (const auto& key : config_keys())
        list += (list.empty() ? "" : ", ") + key.name;
    return list;
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
            const auto& keys = config_keys();
            const auto found = std::find_if(keys.begin(), keys.end(),
                                            [&](const auto& one) { return one.name == member.key(); });
            if (found == keys.end())
                member.fail("unknown key; keys are " + known_keys());
            found->read(member, into);
        }
        check_together(members);
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
