#include "support/failure.hpp"

#include <exception>
#include <gtest/gtest.h>
#include <iostream>

namespace haul::test {

namespace {

constexpr int shown_lines = 60;

std::string last_lines(const std::string& text, int lines) {
    std::size_t start = text.size();
    while (start > 0 && (text[start - 1] != '\n' || lines-- > 0))
        --start;
    return text.substr(start);
}

} // namespace

void show_if_failed(const std::string& what, const std::string& log) noexcept try {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    if (std::uncaught_exceptions() > 0 || (test != nullptr && test->result()->Failed()))
        std::cerr << "-- the last lines of " << what << ":\n" << last_lines(log, shown_lines);
} catch (...) {
    // a destructor has nobody to tell
}

} // namespace haul::test
