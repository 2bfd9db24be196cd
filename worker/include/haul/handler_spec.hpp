#ifndef HAUL_HANDLER_SPEC_HPP
#define HAUL_HANDLER_SPEC_HPP

#include <string>
#include <vector>

namespace haul {

/// A handler named by configuration: which jobs it runs, and what it is made of.
struct handler_spec {
    enum class type {
        builtin, ///< one word: noop, sleep, echo or fail
        exec,    ///< a program and its arguments
        sql,     ///< one word: schema.function
        plugin,  ///< one word: path of a shared object
    };

    std::string kind;               ///< jobs of this kind are given to the handler
    type how = type::builtin;       ///< what the words mean
    std::vector<std::string> words; ///< never empty
};

/// Makes a spec of what a user wrote; `type` is the name of a handler_spec::type. Throws haul::error for a
/// kind that is not 1 to 128 characters long, an unknown type, and words that do not fit the type.
handler_spec make_handler_spec(std::string kind, const std::string& type, std::vector<std::string> words);

} // namespace haul

#endif
