#include "haul/job.hpp"

#include "haul/error.hpp"

#include <nlohmann/json.hpp>

namespace haul {

job_args::job_args(const nlohmann::json& value) try : text_{value.dump()} {
} catch (const nlohmann::json::exception& e) {
    throw bad_job{std::string{"job arguments are no JSON text: "} + e.what(), "22021"};
}

job_options in_namespace(const std::string& name_space, job_options options) {
    if (name_space.empty())
        return options;
    const std::string prefix = name_space + '.';
    const std::string queue = options.queue.value_or("default");
    options.queue = queue.compare(0, prefix.size(), prefix) == 0 ? queue : prefix + queue;
    return options;
}

} // namespace haul
