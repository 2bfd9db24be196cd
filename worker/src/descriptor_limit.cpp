#include "descriptor_limit.hpp"

#include <algorithm>
#include <optional>

namespace haul::core {

namespace {

// 10000 threads, each with an event, a connection, and a program's pipes and pidfd.
constexpr rlim_t most_descriptors = 65536;

// Two connections, and what libpq opens for a moment to make them.
constexpr int reserve = 8;

std::optional<rlimit> inherited;

rlimit current() noexcept {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit;
}

} // namespace

void raise_descriptor_limit() noexcept {
    inherited = current();
    auto raised = *inherited;
    raised.rlim_cur = std::max(raised.rlim_cur, std::min(raised.rlim_max, most_descriptors));
    ::setrlimit(RLIMIT_NOFILE, &raised);
}

rlimit program_descriptor_limit() noexcept {
    return inherited ? *inherited : current();
}

bool is_reserved(int descriptor) noexcept {
    return static_cast<rlim_t>(descriptor) + reserve >= current().rlim_cur;
}

} // namespace haul::core
