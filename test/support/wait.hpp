#ifndef HAUL_TEST_WAIT_HPP
#define HAUL_TEST_WAIT_HPP

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace haul::test {

using namespace std::chrono_literals;

/// How long a test waits for something that should happen soon, on a busy machine.
constexpr std::chrono::milliseconds patience = 30s;

/// Calls `condition` until it returns true. Throws std::runtime_error, naming `what`, when it did not within
/// `limit`.
template <typename Condition>
void wait_until(Condition&& condition, const std::string& what, std::chrono::milliseconds limit = patience) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() >= deadline)
            throw std::runtime_error("waited " + std::to_string(limit.count()) + " ms in vain until " + what);
        std::this_thread::sleep_for(5ms);
    }
}

/// Calls `condition` again and again for as long as `span`. Throws std::runtime_error, naming `what`, as soon
/// as it returns false: for what must not happen.
template <typename Condition>
void expect_all_along(Condition&& condition, const std::string& what, std::chrono::milliseconds span) {
    const auto end = std::chrono::steady_clock::now() + span;
    do {
        if (!condition())
            throw std::runtime_error("not any more: " + what);
        std::this_thread::sleep_for(5ms);
    } while (std::chrono::steady_clock::now() < end);
}

} // namespace haul::test

#endif
