#ifndef HAUL_WORKER_REGISTRY_HPP
#define HAUL_WORKER_REGISTRY_HPP

#include "haul/worker.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace haul::core {

/// Handlers by kind. Not thread-safe while handlers are added; afterwards any thread may look one up.
class registry {
public:
    /// Throws haul::error when the kind is bad or has a handler already.
    void add(const std::string& kind, handler function);
    /// Null when the kind has no handler.
    const handler* find(std::string_view kind) const;
    std::vector<std::string> kinds() const;

private:
    std::map<std::string, handler, std::less<>> handlers_;
};

} // namespace haul::core

#endif
