#ifndef HAUL_TIMESTAMP_HPP
#define HAUL_TIMESTAMP_HPP

#include <chrono>

namespace haul {

/// A point in time as the server keeps it, in microseconds: it holds the year 1 as well as the year 9999,
/// which the nanoseconds of std::chrono::system_clock do not. Any of that clock's times becomes one by
/// itself, rounded down. Compare it with std::chrono::system_clock::now() only after rounding that: in
/// nanoseconds, a time before 1678 or after 2261 is another one.
struct timestamp : std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds> {
    using base = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;
    using base::base;
    constexpr timestamp() = default;
    template <typename Duration>
    constexpr timestamp(const std::chrono::time_point<std::chrono::system_clock, Duration>& time)
        : base{std::chrono::floor<std::chrono::microseconds>(time)} {}
};

} // namespace haul

#endif
