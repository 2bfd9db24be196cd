#ifndef HAUL_CONFIG_HPP
#define HAUL_CONFIG_HPP

#include "haul/error.hpp"
#include "haul/handler_spec.hpp"
#include "haul/options.hpp"

#include <string>
#include <vector>

namespace haul::program {

/// A mistake of whoever started the program, in its arguments or its configuration: exit status 2.
class usage_error : public error {
    using error::error;
};

/// What the program was told, by file and by flags.
struct settings {
    worker_options worker;
    std::vector<handler_spec> handlers;
};

/// Reads a YAML file with everything under the root key "haul"; keys that it leaves out change nothing.
/// Throws usage_error, which names file, line and key, for a file that cannot be read, an unknown key, a key
/// given twice, and a value of the wrong type or out of range.
void read_config(const std::string& file, settings& into);

/// What a single value cannot show: that ranges have an order. Throws usage_error.
void check(const settings& settings);

/// The name, if it is a level of log_options; else throws haul::error.
std::string checked_log_level(const std::string& name);

/// Where services start side by side, under systemd or in a container, the database may be the slower one.
std::chrono::milliseconds default_wait_for_database();

/// The mode of that name; throws haul::error when there is none.
wait_mode wait_mode_named(const std::string& name);

/// A number of seconds as milliseconds.
std::chrono::milliseconds seconds_to_ms(double seconds);

// What is allowed, for file and flags alike.
constexpr int max_priority_limit = 32767;
constexpr int max_threads_limit = 10000;
constexpr double shortest_seconds = 0.001;
constexpr double longest_seconds = 365 * 86400.0;

} // namespace haul::program

#endif
