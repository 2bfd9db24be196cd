#include "cancellation.hpp"

namespace haul::core {

void cancellation::begin() noexcept {
    if (!requested())
        return;
    const std::lock_guard lock{changing_};
    if (level_ == level::job) {
        level_ = level::none;
        raised_.clear();
    }
}

void cancellation::cancel(level how) noexcept {
    const std::lock_guard lock{changing_};
    if (level_ < how)
        level_ = how;
    raised_.set();
}

} // namespace haul::core
