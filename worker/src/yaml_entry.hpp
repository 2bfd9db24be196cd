#ifndef HAUL_YAML_ENTRY_HPP
#define HAUL_YAML_ENTRY_HPP

#include "config.hpp"

#include <chrono>
#include <string>
#include <utility>
#include <vector>
#include <yaml-cpp/yaml.h>

namespace haul::program {

/// A key of a YAML file with its value, or an item of a list. It knows where it stands, and each complaint, a
/// usage_error, says so: "worker.yml:7: haul.polling_jitter: must be …". Outlives neither file name nor
/// document.
class yaml_entry {
public:
    /// `place`: the node whose line complaints name.
    yaml_entry(const std::string& file, std::string path, std::string key, const YAML::Node& place,
               const YAML::Node& value)
        : file_{file}, path_{std::move(path)}, key_{std::move(key)}, mark_{place.Mark()}, value_{value} {}

    const std::string& key() const { return key_; }
    [[noreturn]] void fail(const std::string& message) const;

    bool is_empty() const { return value_.IsNull(); }
    bool is_text() const { return value_.IsScalar(); }
    bool is_list() const { return value_.IsSequence(); }
    bool is_mapping() const { return value_.IsMap(); }
    bool is_boolean() const;

    // The value, if it is of the type and in the range.
    std::string text() const;
    std::string text(std::size_t longest) const; ///< 1 to `longest` characters
    bool boolean() const;
    long long integer(long long least, long long most) const;
    double number(double least, double most) const;
    std::chrono::milliseconds
    seconds(double least = shortest_seconds) const; ///< written as a number of seconds
    std::vector<std::string> texts() const;
    std::vector<yaml_entry> items() const; ///< of a list
    std::vector<yaml_entry>
    members() const; ///< of a mapping, in their order, each key once; of nothing, none

    /// Runs `function`, whose complaints (haul::error) then name this place.
    template <typename Function>
    auto naming_place(Function&& function) const {
        try {
            return function();
        } catch (const usage_error&) {
            throw;
        } catch (const error& e) {
            fail(e.what());
        }
    }

private:
    bool is_plain() const;
    std::string actual() const;

    const std::string& file_;
    std::string path_;
    std::string key_;
    YAML::Mark mark_;
    YAML::Node value_;
};

/// "file:line", or the file alone where the line is unknown.
std::string yaml_place(const std::string& file, const YAML::Mark& mark);

} // namespace haul::program

#endif
