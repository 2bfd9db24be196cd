#ifndef HAUL_WORKER_SUBSCRIPTION_HPP
#define HAUL_WORKER_SUBSCRIPTION_HPP

#include "haul/options.hpp"

#include <set>
#include <string>
#include <vector>

namespace haul::core {

/// Which jobs the worker takes. Immutable.
class subscription {
public:
    /// Throws haul::error for options that contradict each other.
    subscription(const worker_options& options, std::vector<std::string> kinds);

    /// The options of haul.register_worker(), as JSON.
    const std::string& registration() const noexcept { return registration_; }

    /// Whether jobs of the queue can be for this worker; the kind and the priority are not looked at.
    bool takes(const std::string& queue) const;

private:
    std::string prefix_; // of the namespace, with its dot
    std::set<std::string> queues_;
    std::set<std::string> excluded_;
    std::string registration_;
};

/// Name of this machine.
std::string host_name();

} // namespace haul::core

#endif
