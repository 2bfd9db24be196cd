#include "haul/handler_spec.hpp"

#include "handler_types.hpp"
#include "haul/error.hpp"
#include "utf8.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace haul {

namespace {

handler_spec::type type_named(const std::string& name) {
    std::string known;
    for (const auto& type : core::handler_types) {
        if (name == type.name)
            return type.how;
        known += (known.empty() ? "" : ", ") + std::string{type.name};
    }
    if (name == "http")
        throw error{"handlers of type http are not supported by this version"};
    throw error{"unknown type of handler \"" + name + "\": types are " + known};
}

} // namespace

handler_spec make_handler_spec(std::string kind, const std::string& type, std::vector<std::string> words) {
    handler_spec spec{std::move(kind), type_named(type), std::move(words)};

    const auto length = utf8_length(spec.kind);
    if (length < 1 || length > 128)
        throw error{"a kind must have 1 to 128 characters"};
    if (spec.words.empty() || spec.words.front().empty())
        throw error{"a handler of type " + type + " needs to be told what to run"};
    if (spec.how != handler_spec::type::exec && spec.words.size() > 1)
        throw error{"a handler of type " + type + " takes one word"};

    const std::string& word = spec.words.front();
    static const std::array<std::string, 4> builtins = {"noop", "sleep", "echo", "fail"};
    if (spec.how == handler_spec::type::builtin && std::count(builtins.begin(), builtins.end(), word) == 0)
        throw error{"unknown builtin handler \"" + word + "\": there are noop, sleep, echo, fail"};
    if (spec.how == handler_spec::type::sql) {
        const auto dot = word.find('.');
        if (dot == std::string::npos || dot == 0 || dot + 1 == word.size())
            throw error{"an sql handler is named schema.function, not \"" + word + "\""};
    }
    return spec;
}

} // namespace haul
