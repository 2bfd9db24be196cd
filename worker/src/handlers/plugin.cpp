#include "haul/plugin.hpp"

#include "handlers/handlers.hpp"
#include "haul/error.hpp"

#include <dlfcn.h>

namespace haul::core {

namespace {

struct trait {
    const char* name;
    unsigned plugin_build::*value;
};

constexpr trait traits[] = {
    {"ABI of the compiler", &plugin_build::cxx_abi},
    {"C++ library", &plugin_build::cxx_library},
    {"_GLIBCXX_USE_CXX11_ABI", &plugin_build::cxx11_abi},
    {"_GLIBCXX_DEBUG", &plugin_build::debug_library},
    {"exceptions", &plugin_build::exceptions},
    {"rtti", &plugin_build::rtti},
    {"sanitizers", &plugin_build::sanitizers},
    {"version of nlohmann-json", &plugin_build::json_version},
    {"size of a pointer", &plugin_build::size_of_pointer},
    {"size of std::string", &plugin_build::size_of_string},
    {"size of nlohmann::json", &plugin_build::size_of_json},
    {"size of haul::timestamp", &plugin_build::size_of_time},
    {"size of haul::outcome", &plugin_build::size_of_outcome},
};

std::string differences(const plugin_build& theirs) {
    std::string list;
    for (const auto& [name, value] : traits) {
        if (theirs.*value != detail::this_build.*value)
            list += (list.empty() ? "" : ", ") + std::string{name} + ' ' + std::to_string(theirs.*value) +
                    " (worker: " + std::to_string(detail::this_build.*value) + ')';
    }
    return list;
}

} // namespace

handler make_plugin_handler(const std::string& path) {
    // A bare name would be looked for in the system's library directories.
    const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
    void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
        throw error{std::string{"cannot load the plugin: "} + ::dlerror()};
    // Never closed: threads may run its code until the process ends.
    const auto* entry = static_cast<const plugin_entry*>(::dlsym(library, "haul_plugin"));
    if (!entry)
        throw error{"\"" + path + "\" is not a plugin: it has no symbol haul_plugin",
                    {},
                    {},
                    "Use HAUL_PLUGIN of haul/plugin.hpp."};
    if (entry->interface != plugin_interface)
        throw error{"plugin \"" + path + "\" was built for another version of haul"};
    if (const auto list = differences(entry->build); !list.empty())
        throw error{"plugin \"" + path + "\" was not built as the worker was: " + list,
                    {},
                    {},
                    "Build it with the compiler and the flags of the worker."};
    return [run = entry->run](const job_context& job) { return run(job); };
}

} // namespace haul::core
