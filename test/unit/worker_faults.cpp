#include "fault.hpp"
#include "replacement.hpp"
#include "text.hpp"

#include <gmock/gmock.h>

namespace {

using namespace haul::core;
using haul::connection_error;
using haul::error;

fault of_state(const std::string& sqlstate) {
    try {
        haul::throw_error("ERROR:  x", sqlstate);
    } catch (const error& failure) {
        return fault_of(failure);
    }
}

TEST(worker_fault, a_connection_that_is_gone_is_nobodys) {
    for (const char* state : {"08006", "08001", "08007", "57P01", "57P02", "57P03", "53300"})
        EXPECT_EQ(of_state(state), fault::connection) << state;
    EXPECT_EQ(fault_of(connection_error{"timeout", "08001"}), fault::connection);
    EXPECT_EQ(fault_of(connection_error{"the session had been idle", "57P05"}), fault::connection);
}

TEST(worker_fault, what_the_server_cannot_do_now_it_may_do_later) {
    for (const char* state : {"57014", "55P03", "53000", "53100", "53200", "53400", "40001", "40P01", "58030",
                              "55006", "XX000", "XX001"})
        EXPECT_EQ(of_state(state), fault::server) << state;
}

TEST(worker_fault, what_is_missing_or_not_allowed_is_a_fault_of_the_set_up) {
    for (const char* state :
         {"42501", "42883", "42P01", "42703", "3F000", "26000", "42P05", "25006", "0A000"})
        EXPECT_EQ(of_state(state), fault::setup) << state;
    for (const char* state : {"28P01", "28000", "3D000", "42501"})
        EXPECT_EQ(fault_of(connection_error{"refused", state}), fault::setup) << state;
}

TEST(worker_fault, what_was_sent_is_the_fault_of_one_job) {
    for (const char* state :
         {"22021", "22P05", "22P02", "22023", "21000", "23505", "23514", "P0001", "54000", "HQ002", "25P02"})
        EXPECT_EQ(of_state(state), fault::data) << state;
}

TEST(worker_fault, the_advice_is_the_servers_or_ours) {
    const auto of = [](const char* state, const char* hint = "") {
        return advice(error{"x", state, "", hint});
    };
    EXPECT_THAT(of("42501"), testing::HasSubstr("haul.grant_worker"));
    EXPECT_THAT(of("26000"), testing::HasSubstr("--wait call"));
    EXPECT_THAT(of("42P05"), testing::HasSubstr("--wait call"));
    EXPECT_THAT(of("25006"), testing::HasSubstr("target_session_attrs"));
    EXPECT_EQ(of("42883"), "") << "it may be a function that somebody's trigger calls";
    EXPECT_EQ(of("42501", "Ask Ann."), "Ask Ann.");
    EXPECT_EQ(of("57014"), "");
}

TEST(worker_text, what_is_utf_8) {
    EXPECT_TRUE(is_utf8(""));
    EXPECT_TRUE(is_utf8("\1{\"a\": \"ä✓🙂\"}"));
    EXPECT_FALSE(is_utf8("\1{\"a\": \"\xE9\"}"));
    EXPECT_FALSE(is_utf8(std::string_view{"a\0", 2}));
}

TEST(worker_text, in_ascii) {
    EXPECT_EQ(to_ascii("plain"), "plain");
    EXPECT_EQ(to_ascii("ä✓!"), std::string(2, '?') + "!");
    EXPECT_EQ(to_ascii("🙂\xE9"), std::string(2, '?'));
    EXPECT_EQ(json_to_ascii(R"({"ä":"\u2713","b":"\\u2713\"\n"})"), R"({"?":"?","b":"\\u2713\"\n"})");
    EXPECT_EQ(json_to_ascii("\"\\"), "\"\\");
}

template <typename Ending>
const Ending& nth(const std::vector<ending>& list, std::size_t index) {
    return std::get<Ending>(list.at(index));
}

TEST(worker_replacement, the_outcome_stays_and_its_text_gives_way) {
    const auto discarded = replacements(haul::discard{"no ✓"}, "no such character");
    EXPECT_EQ(nth<haul::discard>(discarded, 0).reason, "no ?");
    EXPECT_EQ(nth<haul::discard>(discarded, 1).reason,
              "the server refused the text of this outcome: no such character");
    EXPECT_EQ(nth<haul::retry>(discarded, 2).error, "the server refused the outcome: no such character");
    nth<interrupted>(discarded, 3);
    EXPECT_EQ(discarded.size(), 4u);

    const auto done = replacements(haul::completed::with_text(R"({"a":"✓"})"), "why ✓");
    EXPECT_EQ(nth<haul::completed>(done, 0).result, R"({"a":"?"})");
    EXPECT_EQ(nth<haul::completed>(done, 1).result,
              R"("the server refused the text of this outcome: why ?")");
    EXPECT_EQ(done.size(), 4u);

    using namespace std::chrono_literals;
    const auto again = replacements(haul::retry{"✓", 5s, "elsewhere"}, "why");
    EXPECT_EQ(nth<haul::retry>(again, 0).error, "?");
    EXPECT_EQ(nth<haul::retry>(again, 0).delay, 5s);
    EXPECT_EQ(nth<haul::retry>(again, 1).queue, "elsewhere");
    EXPECT_FALSE(nth<haul::retry>(again, 2).queue) << "the queue may be at fault";
    EXPECT_EQ(nth<haul::fail_for_good>(replacements(haul::fail_for_good{"✓"}, "why"), 0).error, "?");
    EXPECT_EQ(nth<haul::cancel>(replacements(haul::cancel{"✓"}, "why"), 0).reason, "?");
}

TEST(worker_replacement, an_outcome_without_text_becomes_a_failed_attempt) {
    EXPECT_EQ(replacements(haul::completed{}, "why").size(), 2u);
    EXPECT_EQ(nth<haul::retry>(replacements(haul::snooze{}, "why"), 0).error,
              "the server refused the outcome: why");
}

} // namespace
