// extension/base/backoff.c, which needs no server.
extern "C" {
#include "base/backoff.h"
}

#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <string>

namespace haul::test {
namespace {

double seconds(const std::string& text, int attempt) {
    Backoff backoff;
    return backoff_parse(text.data(), text.size(), &backoff) ? backoff_seconds(&backoff, attempt) : -1;
}

TEST(backoff, follows_its_formula) {
    EXPECT_EQ(seconds("exponential", 1), 7);
    EXPECT_EQ(seconds("exponential(5,2)", 3), 13);
    EXPECT_EQ(seconds("exponential(0, 1.5)", 2), 2.25);
    EXPECT_EQ(seconds("linear", 4), 20);
    EXPECT_EQ(seconds("linear(0.5)", 4), 2);
    EXPECT_EQ(seconds("constant", 9), 10);
    EXPECT_EQ(seconds("constant( 3 )", 9), 3);
    EXPECT_EQ(seconds("polynomial", 1), 30);
    EXPECT_EQ(seconds("polynomial(30,5)", 3), 62);
}

TEST(backoff, never_exceeds_a_year) {
    EXPECT_EQ(seconds("exponential", 2147483647), BACKOFF_MAX_SECONDS);
    EXPECT_EQ(seconds("polynomial(0,1000000000)", 2147483647), BACKOFF_MAX_SECONDS);
    EXPECT_EQ(seconds("linear(1000000000)", 2147483647), BACKOFF_MAX_SECONDS);
}

TEST(backoff, refuses_what_is_none) {
    for (const char* text :
         {"", "(", "exp", "exponential(", "exponential()", "exponential(5)", "exponential(5,2",
          "exponential(5,2) ", "exponential(5,2,1)", "linear(5,2)", "constant(-1)", "constant(.)",
          "constant(1e3)", "constant(1000000001)", "Constant(1)", "constant (1)", "constant(nan)"})
        EXPECT_EQ(seconds(text, 1), -1) << text;
}

// Whatever the text, reading it stays within it, and what is read gives a delay within the bounds.
TEST(backoff, takes_any_text) {
    std::mt19937 random{1};
    const std::string alphabet = "exponentiallinearconstantpolynomial(,).0123456789 -+e\xff";
    const std::string names[] = {"", "exponential(", "linear(", "constant(", "polynomial("};
    std::uniform_int_distribution<std::size_t> length{0, 12}, letter{0, alphabet.size() - 1}, name{0, 4};
    std::uniform_int_distribution<int> attempt{1, 2147483647};
    int read = 0;
    for (int round = 0; round < 200000; ++round) {
        std::string text = names[name(random)];
        for (std::size_t n = length(random); n > 0; --n)
            text += alphabet[letter(random)];
        // memory of its own, so that a sanitizer sees a read beyond the end
        const std::string exact(text.begin(), text.end());
        Backoff backoff;
        if (!backoff_parse(exact.data(), exact.size(), &backoff))
            continue;
        ++read;
        const double delay = backoff_seconds(&backoff, attempt(random));
        ASSERT_TRUE(delay >= 0 && delay <= BACKOFF_MAX_SECONDS) << text << ": " << delay;
    }
    EXPECT_GT(read, 0);
}

} // namespace
} // namespace haul::test
