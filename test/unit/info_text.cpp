#include "info.hpp"
#include "text_table.hpp"

#include <gmock/gmock.h>

namespace haul::program {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

constexpr const char* red = "\033[1;31m";

database_info busy_database() {
    database_info info;
    info.workers = {{"w1", "alpha", "17", 3, 10, 2s, "running"},
                    {"w2", "alpha", "4711", 1, 5, 31s, "draining"}};
    info.queues = {{"default", 12, 3, 4, 0, false, 61s, 90s},
                   {"big", 10001, 0, 0, 0, true, 59s, std::nullopt}};
    info.counters = {{"default", {1, 2, 3, 4, 5, 6, 7, 8, 9}}};
    return info;
}

TEST(info_text, aligns_columns) {
    EXPECT_EQ(info_text(busy_database(), false),
              "Hosts\n"
              "host   workers  busy  late\n"
              "alpha        2  4/15     1\n"
              "\n"
              "Workers\n"
              "worker  host    pid  busy  heartbeat  status\n"
              "w1      alpha    17  3/10  2.0 s ago  running\n"
              "w2      alpha  4711   1/5   31 s ago  draining\n"
              "\n"
              "Queues\n"
              "queue     ready  scheduled  running  waiting  oldest due  next due\n"
              "default      12          3        4        0    61 s ago   in 90 s\n"
              "big      10001+         0+       0+       0+    59 s ago         -\n"
              "\n"
              "Late jobs\n"
              "queue    ready  due since\n"
              "default     12       61 s\n"
              "\n"
              "Counters of today (UTC)\n"
              "queue    dispatches  retries  completions  failures  expiries  "
              "discards  cancels  releases  drops\n"
              "default           1        2            3         4         5  "
              "       6        7         8      9\n");
}

TEST(info_text, says_so_when_there_is_nothing) {
    const auto text = info_text({}, false);
    EXPECT_THAT(text, HasSubstr("no workers"));
    EXPECT_THAT(text, HasSubstr("no jobs"));
    EXPECT_THAT(text, HasSubstr("nothing has run"));
}

TEST(info_text, colours_only_what_is_late) {
    const auto text = info_text(busy_database(), true);
    EXPECT_THAT(text, HasSubstr(red + std::string{"31 s ago"}));
    EXPECT_THAT(text, HasSubstr(red + std::string{"61 s ago"}));
    EXPECT_THAT(text, Not(HasSubstr(red + std::string{"2.0 s"})));
    EXPECT_THAT(text, Not(HasSubstr(red + std::string{"59 s"})));
    EXPECT_THAT(info_text(busy_database(), false), Not(HasSubstr("\033")));
}

TEST(info_text, names_cannot_break_the_layout) {
    database_info info;
    info.queues = {{"a\nb\033[2J", 1, 0, 0, 0, false, std::nullopt, std::nullopt}};
    const auto text = info_text(info, false);
    EXPECT_THAT(text, HasSubstr("a?b?[2J"));
    EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(text_table, counts_characters_and_not_bytes) {
    text_table table{{{"name"}, {"n", text_table::align::right}}};
    table.add({"ä🙂", "1"});
    table.add({"abcdef", "20"});
    EXPECT_EQ(table.render(false), "name     n\n"
                                   "ä🙂      1\n"
                                   "abcdef  20\n");
}

TEST(text_table, aligns_wide_and_combining_characters) {
    text_table table{{{"name"}, {"n", text_table::align::right}}};
    table.add({"日本", "1"});
    table.add({"e\u0301t", "2"});
    EXPECT_EQ(table.render(false), "name  n\n"
                                   "日本  1\n"
                                   "e\u0301t    2\n");
}

TEST(text_table, shows_only_what_is_printable) {
    text_table table{{{"name"}}};
    for (const char* name : {"C1 \u009b2J", "bidi \u202egpj", "hidden \u200b", "bytes \xff\xc2", "\x7f"})
        table.add({name});
    EXPECT_EQ(table.render(false), "name\nC1 ?2J\nbidi ?gpj\nhidden ?\nbytes ??\n?\n");
}

TEST(text_table, lines_end_without_blanks) {
    text_table table{{{"a"}, {"b"}}};
    table.add({"x", ""});
    table.add({"long", "long"});
    EXPECT_EQ(table.render(false), "a     b\nx\nlong  long\n");
}

TEST(age_text, has_one_unit) {
    EXPECT_EQ(age_text(0ms), "0.0 s");
    EXPECT_EQ(age_text(340ms), "0.3 s");
    EXPECT_EQ(age_text(119s), "119 s");
    EXPECT_EQ(age_text(5min), "5 min");
    EXPECT_EQ(age_text(3h), "3 h");
    EXPECT_EQ(age_text(72h), "3 d");
}

} // namespace
} // namespace haul::program
