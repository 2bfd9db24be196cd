#ifndef HAUL_PLUGIN_HPP
#define HAUL_PLUGIN_HPP

#include "haul/job_context.hpp"
#include "haul/outcome.hpp"

#include <type_traits>

/// A plugin is a shared object with one handler, which the configuration gives a kind: `count: {plugin:
/// ./count.so}`.
///
///     #include <haul/plugin.hpp>
///     static haul::outcome count(const haul::job_context& job) { …; return haul::completed{}; }
///     HAUL_PLUGIN(count)
///
///     g++ -std=c++17 -shared -fPIC -I…/include count.cpp -o count.so
///
/// It needs nothing of haul to link with, but must be built with the headers of the worker that loads it and
/// with a compiler whose C++ library is compatible. The handler is called by several threads at once and is
/// never unloaded.

namespace haul {

/// What the symbol `haul_plugin` of a plugin is.
struct plugin_entry {
    int interface; ///< must equal plugin_interface of the worker
    outcome (*run)(const job_context&);
};

/// Counts incompatible changes of job_context, outcome and plugin_entry.
inline constexpr int plugin_interface = 2;

namespace detail {

template <auto Function>
outcome run_plugin(const job_context& job) {
    if constexpr (std::is_void_v<decltype(Function(job))>) {
        Function(job);
        return completed{};
    } else {
        return Function(job);
    }
}

} // namespace detail

} // namespace haul

/// Makes `function`, an outcome(const job_context&) or void(const job_context&), the handler of the plugin.
#define HAUL_PLUGIN(function)                                                                                \
    extern "C" __attribute__((visibility("default"))) const haul::plugin_entry haul_plugin;                  \
    const haul::plugin_entry haul_plugin{haul::plugin_interface, haul::detail::run_plugin<function>};

#endif
