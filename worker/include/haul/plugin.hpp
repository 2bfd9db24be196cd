#ifndef HAUL_PLUGIN_HPP
#define HAUL_PLUGIN_HPP

#include "haul/job_context.hpp"
#include "haul/outcome.hpp"

#include <string>
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
/// It needs nothing of haul to link with, but must be built with the headers of the worker that loads it, and
/// with a compiler, a C++ library and flags that give the types the same layout: a plugin that tells of
/// others is refused. The handler is called by several threads at once and is never unloaded.

namespace haul {

/// Counts incompatible changes of job_context, outcome and plugin_entry.
inline constexpr int plugin_interface = 3;

/// What the layout of the types that pass between worker and plugin, and the way exceptions do, depend on.
struct plugin_build {
    unsigned cxx_abi;         ///< family of the compiler's ABI
    unsigned cxx_library;     ///< 1 libstdc++, 2 libc++
    unsigned cxx11_abi;       ///< _GLIBCXX_USE_CXX11_ABI
    unsigned debug_library;   ///< _GLIBCXX_DEBUG
    unsigned exceptions;      ///< not -fno-exceptions
    unsigned rtti;            ///< not -fno-rtti
    unsigned sanitizers;      ///< 1 address, 2 thread
    unsigned json_version;    ///< of nlohmann-json
    unsigned size_of_pointer; ///< and so on
    unsigned size_of_string;
    unsigned size_of_json;
    unsigned size_of_time;
    unsigned size_of_outcome;
};

/// What the symbol `haul_plugin` of a plugin is.
struct plugin_entry {
    int interface; ///< must equal plugin_interface of the worker, else the rest is unknown
    plugin_build build;
    outcome (*run)(const job_context&);
};

namespace detail {

constexpr unsigned has_address_sanitizer =
#if defined(__SANITIZE_ADDRESS__)
    1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    1;
#else
    0;
#endif
#else
    0;
#endif

constexpr unsigned has_thread_sanitizer =
#if defined(__SANITIZE_THREAD__)
    1;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    1;
#else
    0;
#endif
#else
    0;
#endif

// A constant of whoever includes this header, and not one that plugin and worker share by its name.
static constexpr plugin_build this_build {
    __GXX_ABI_VERSION / 1000,
#if defined(_LIBCPP_VERSION)
        2,
#else
        1,
#endif
#if defined(_GLIBCXX_USE_CXX11_ABI)
        _GLIBCXX_USE_CXX11_ABI,
#else
        0,
#endif
#if defined(_GLIBCXX_DEBUG)
        1,
#else
        0,
#endif
#if defined(__cpp_exceptions)
        1,
#else
        0,
#endif
#if defined(__cpp_rtti)
        1,
#else
        0,
#endif
        has_address_sanitizer + 2 * has_thread_sanitizer,
        NLOHMANN_JSON_VERSION_MAJOR * 10000 + NLOHMANN_JSON_VERSION_MINOR * 100 + NLOHMANN_JSON_VERSION_PATCH,
        sizeof(void*), sizeof(std::string), sizeof(nlohmann::json), sizeof(std::optional<timestamp>),
        sizeof(outcome),
};

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
    const haul::plugin_entry haul_plugin{haul::plugin_interface, haul::detail::this_build,                   \
                                         haul::detail::run_plugin<function>};

#endif
