#ifndef HAUL_WORKER_HANDLER_TYPES_HPP
#define HAUL_WORKER_HANDLER_TYPES_HPP

#include "haul/handler_spec.hpp"

namespace haul::core {

/// A type of handler, as configuration names it and help explains it.
struct handler_type {
    handler_spec::type how;
    const char* name;
    const char* what; ///< what follows the name
    const char* meaning;
};

inline constexpr handler_type handler_types[] = {
    {handler_spec::type::builtin, "builtin", "NAME",
     "for trying out: noop; sleep ({\"seconds\": n}); echo (result = args); fail ({\"message\": \"…\"})"},
    {handler_spec::type::exec, "exec", "[PROGRAM, ARGUMENT…]",
     "a program: the job as JSON on standard input and in HAUL_* variables, the result on standard output; "
     "exit "
     "status 0 completed, 75 snooze, 100 discard, 101 fail for good, any other a failed attempt"},
    {handler_spec::type::sql, "sql", "SCHEMA.FUNCTION",
     "a function (args jsonb) or (args jsonb, job jsonb) in the database, which returns jsonb, json or void; "
     "completed in the same transaction"},
    {handler_spec::type::plugin, "plugin", "PATH", "a shared object with one C++ handler"},
};

} // namespace haul::core

#endif
