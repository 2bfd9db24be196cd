#ifndef HAUL_CONFIG_KEYS_HPP
#define HAUL_CONFIG_KEYS_HPP

#include "config.hpp"
#include "yaml_entry.hpp"

#include <functional>
#include <string>
#include <vector>

namespace haul::program {

/// A key that may stand under the root key of a configuration file.
struct config_key {
    std::string name;
    std::string values;   ///< their type, unit and range
    std::string standard; ///< what holds without the key
    std::string meaning;
    std::function<void(const yaml_entry&, settings&)> read; ///< throws usage_error
};

/// All of them, in the order in which they are explained.
const std::vector<config_key>& config_keys();

/// What keys say about the same thing, in whatever order, must agree. Throws usage_error.
void check_together(const std::vector<yaml_entry>& keys);

/// The keys and the types of handlers explained.
std::string config_help();

} // namespace haul::program

#endif
