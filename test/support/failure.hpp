#ifndef HAUL_TEST_FAILURE_HPP
#define HAUL_TEST_FAILURE_HPP

#include <string>

namespace haul::test {

/// When the current test has failed by now, or is being left by an exception, writes the last lines of a log
/// to standard error. For destructors of what a test uses.
void show_if_failed(const std::string& what, const std::string& log) noexcept;

} // namespace haul::test

#endif
