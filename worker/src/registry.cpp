#include "registry.hpp"

#include "haul/error.hpp"
#include "utf8.hpp"

namespace haul::core {

namespace {

constexpr std::size_t longest_kind = 128;

} // namespace

void registry::add(const std::string& kind, handler function) {
    if (kind.empty() || utf8_length(kind) > longest_kind)
        throw error{"kind \"" + kind + "\" must have 1 to 128 characters"};
    if (!function)
        throw error{"the handler of kind \"" + kind + "\" is empty"};
    if (!handlers_.emplace(kind, std::move(function)).second)
        throw error{"kind \"" + kind + "\" has two handlers"};
}

const handler* registry::find(std::string_view kind) const {
    const auto found = handlers_.find(kind);
    return found == handlers_.end() ? nullptr : &found->second;
}

std::vector<std::string> registry::kinds() const {
    std::vector<std::string> names;
    for (const auto& [kind, function] : handlers_)
        names.push_back(kind);
    return names;
}

} // namespace haul::core
