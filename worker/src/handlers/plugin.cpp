#include "haul/plugin.hpp"

#include "handlers/handlers.hpp"
#include "haul/error.hpp"

#include <dlfcn.h>

namespace haul::core {

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
    if (entry->interface != plugin_interface || !entry->run)
        throw error{"plugin \"" + path + "\" was built for another version of haul"};
    return [run = entry->run](const job_context& job) { return run(job); };
}

} // namespace haul::core
