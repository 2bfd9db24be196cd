#ifndef HAUL_WORKER_HANDLERS_HPP
#define HAUL_WORKER_HANDLERS_HPP

#include "haul/worker.hpp"

#include <string>
#include <vector>

namespace haul::core {

/// The handler that a configuration names. Throws haul::error when there is none.
handler make_handler(const handler_spec& spec);

/// noop, sleep (args: seconds), echo (its args are its result), fail (args: message).
handler make_builtin_handler(const std::string& name);
/// A program with its arguments. Throws haul::error when it cannot be executed.
handler make_exec_handler(std::vector<std::string> command);
/// A function schema.name(jsonb), or else (jsonb, jsonb), of the database, run and completed in one
/// transaction.
handler make_sql_handler(const std::string& name);
/// A shared object, see haul/plugin.hpp.
handler make_plugin_handler(const std::string& path);

} // namespace haul::core

#endif
