#include "subscription.hpp"

#include "haul/error.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace haul::core {

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0)
        return "localhost";
    return name.data();
}

subscription::subscription(const worker_options& options, std::vector<std::string> kinds) {
    if (kinds.empty())
        throw error{
            "the worker has no handler", {}, {}, "Register at least one: only kinds with a handler are run."};
    if (options.max_threads < 1 || options.min_threads < 0 || options.min_threads > options.max_threads)
        throw error{"bad number of threads: at least 0 and at most max_threads are kept, and max_threads is "
                    "at least 1"};

    if (!options.name_space.empty())
        prefix_ = options.name_space + '.';
    // Within a namespace, queues may be named with or without it.
    const auto full_name = [&](const std::string& name) {
        return name.compare(0, prefix_.size(), prefix_) == 0 ? name : prefix_ + name;
    };
    const bool all = options.queues.empty() || (options.queues.size() == 1 && options.queues[0].name == "*");

    nlohmann::json registration{
        {"kinds", std::move(kinds)},
        {"min_priority", options.min_priority},
        {"max_priority", options.max_priority},
        {"max_threads", options.max_threads},
        {"hostname", host_name()},
        {"pid", ::getpid()},
        {"confirm_start", true},
        {"wake", options.wait == wait_mode::listen ? "worker" : "none"},
    };
    if (options.weighted)
        registration["order"] = "weighted";
    if (!prefix_.empty())
        registration["namespace"] = options.name_space;
    if (!all) {
        auto& list = registration["queues"] = nlohmann::json::array();
        for (const auto& queue : options.queues) {
            queues_.insert(full_name(queue.name));
            if (options.weighted)
                list.push_back({{"name", queue.name}, {"weight", queue.weight}});
            else
                list.push_back(queue.name);
        }
    }
    if (!options.exclude.empty()) {
        registration["exclude"] = options.exclude;
        for (const auto& queue : options.exclude) {
            excluded_.insert(queue);
            excluded_.insert(full_name(queue));
        }
    }
    try {
        registration_ = registration.dump();
    } catch (const nlohmann::json::type_error&) {
        throw error{"names of queues, kinds and namespaces must be UTF-8"};
    }
}

bool subscription::takes(const std::string& queue) const {
    if (queue.compare(0, prefix_.size(), prefix_) != 0)
        return false;
    if (excluded_.count(queue))
        return false;
    return queues_.empty() || queues_.count(queue) > 0;
}

} // namespace haul::core
