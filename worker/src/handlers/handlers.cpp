#include "handlers/handlers.hpp"

#include "haul/error.hpp"

namespace haul::core {

handler make_handler(const handler_spec& spec) {
    if (spec.words.empty())
        throw error{"the handler of kind \"" + spec.kind + "\" is not said to be anything"};
    switch (spec.how) {
    case handler_spec::type::builtin:
        return make_builtin_handler(spec.words.front());
    case handler_spec::type::exec:
        return make_exec_handler(spec.words);
    case handler_spec::type::sql:
        return make_sql_handler(spec.words.front());
    case handler_spec::type::plugin:
        return make_plugin_handler(spec.words.front());
    }
    throw error{"unknown type of handler"};
}

} // namespace haul::core
