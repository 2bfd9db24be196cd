#include "binary.hpp"
#include "registry.hpp"
#include "subscription.hpp"
#include "text.hpp"

#include "haul/error.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace {

using namespace haul::core;
using namespace std::chrono_literals;

TEST(worker_binary, numbers_and_times_come_back) {
    std::string bytes;
    write_int64(bytes, -5);
    EXPECT_EQ(read_int64(bytes), -5);
    EXPECT_EQ(bytes.size(), 8u);
    bytes.clear();
    write_int32(bytes, 1 << 30);
    EXPECT_EQ(bytes, std::string("\x40\0\0\0", 4)) << "network order";
    bytes.clear();
    write_interval(bytes, 1500ms);
    EXPECT_EQ(read_interval(bytes), 1500ms);
    EXPECT_EQ(read_interval(std::string(7, '\0') + '\1' + std::string("\0\0\0\2\0\0\0\1", 8)),
              1us + 24h * 32);
}

TEST(worker_binary, the_servers_epoch_is_the_year_2000) {
    EXPECT_EQ(in_utc(read_timestamp(std::string(8, '\0'))), "2000-01-01T00:00:00.000000Z");
    std::string bytes;
    write_int64(bytes, -1);
    EXPECT_EQ(in_utc(read_timestamp(bytes)), "1999-12-31T23:59:59.999999Z");
}

TEST(worker_binary, times_that_nanoseconds_do_not_hold) {
    const auto text_of = [](std::int64_t since_2000) {
        std::string bytes;
        write_int64(bytes, since_2000);
        return in_utc(read_timestamp(bytes));
    };
    EXPECT_EQ(text_of(-63082281600'000'000), "0001-01-01T00:00:00.000000Z");
    EXPECT_EQ(text_of(9467107200'000'001), "2300-01-01T00:00:00.000001Z");
    EXPECT_EQ(text_of(252455615999'999'999), "9999-12-31T23:59:59.999999Z");
    EXPECT_EQ(text_of(std::numeric_limits<std::int64_t>::max()).substr(0, 6), "294247");
    EXPECT_EQ(in_utc(std::chrono::system_clock::time_point{-1ns}), "1969-12-31T23:59:59.999999Z");
}

TEST(worker_binary, arrays) {
    array_builder ids{type::int8};
    EXPECT_EQ(ids.bytes(), std::string_view("\0\0\0\0\0\0\0\0\0\0\0\x14", 12));
    EXPECT_TRUE(read_int64_array(ids.bytes()).empty());
    ids.add_int64(7);
    ids.add_int64(-1);
    EXPECT_EQ(read_int64_array(ids.bytes()), (std::vector<std::int64_t>{7, -1}));
    ids.clear();
    ids.add_int64(1);
    EXPECT_EQ(read_int64_array(ids.bytes()), (std::vector<std::int64_t>{1}));
    ids.add_null();
    EXPECT_THROW(read_int64_array(ids.bytes()), haul::error);
}

TEST(worker_text, utf8_stays_and_everything_else_is_replaced) {
    const std::string good = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x82";
    EXPECT_EQ(to_utf8(good), good);
    const std::string r = "\xEF\xBF\xBD";
    EXPECT_EQ(to_utf8(std::string_view("a\0b", 3)), "a" + r + "b");
    EXPECT_EQ(to_utf8("\xC3"), r);
    EXPECT_EQ(to_utf8("\xC0\xAF"), r + r) << "overlong";
    EXPECT_EQ(to_utf8("\xED\xA0\x80"), r + r + r) << "a surrogate";
    EXPECT_EQ(to_utf8("\xF4\x90\x80\x80"), r + r + r + r) << "beyond the end of Unicode";
    EXPECT_EQ(to_utf8("\xFF(\xE2\x82"), r + "(" + r + r);
}

TEST(worker_text, log_values_are_quoted_where_they_must_be) {
    EXPECT_EQ(log_value("plain-1"), "plain-1");
    EXPECT_EQ(log_value(""), "\"\"");
    EXPECT_EQ(log_value("two words"), "\"two words\"");
    EXPECT_EQ(log_value("a=\"b\"\n\x01"), "\"a=\\\"b\\\"\\n\\x01\"");
    EXPECT_EQ(log_value("Grüße"), "Grüße");
    EXPECT_EQ(log_value("\u009b2J"), "\"\\u009b2J\"") << "a control sequence";
    EXPECT_EQ(log_value("\u202egpj.exe"), "\"\\u202egpj.exe\"") << "from right to left";
    EXPECT_EQ(log_value("\xff"), "\"\\xff\"") << "no UTF-8";
}

TEST(worker_text, tail_is_the_end_in_whole_lines) {
    EXPECT_EQ(tail("one\ntwo\n\n", 100), "one\ntwo");
    EXPECT_EQ(tail("one\ntwo\nthree\n", 8), "three");
    EXPECT_EQ(tail("0123456789", 4), "6789");
    EXPECT_EQ(in_seconds(1500ms), "1.5 s");
}

TEST(worker_text, long_texts_keep_beginning_and_end) {
    EXPECT_EQ(shortened("short", 5), "short");
    const auto text = shortened("begin" + std::string(300'000, 'x') + "end", 100);
    EXPECT_LT(text.size(), 150u);
    EXPECT_EQ(text.substr(0, 5), "begin");
    EXPECT_EQ(text.substr(text.size() - 3), "end");
    EXPECT_NE(text.find("299908 bytes"), std::string::npos) << text;
    std::string wide;
    for (int i = 0; i < 100; ++i)
        wide += "€";
    EXPECT_TRUE(is_utf8(shortened(wide, 50)));
}

TEST(worker_registry, refuses_bad_and_duplicate_kinds) {
    registry handlers;
    const haul::handler noop = [](const haul::job_context&) -> haul::outcome { return haul::completed{}; };
    handlers.add("a", noop);
    handlers.add(std::string(128, 'k'), noop);
    EXPECT_THROW(handlers.add("a", noop), haul::error);
    EXPECT_THROW(handlers.add("", noop), haul::error);
    EXPECT_THROW(handlers.add(std::string(129, 'k'), noop), haul::error);
    EXPECT_THROW(handlers.add("b", nullptr), haul::error);
    EXPECT_NE(handlers.find("a"), nullptr);
    EXPECT_EQ(handlers.find("b"), nullptr);
}

TEST(worker_subscription, knows_which_notifications_are_for_it) {
    haul::worker_options options;
    EXPECT_TRUE((subscription{options, {"k"}}.takes("anything")));
    options.queues = {{"a", 1}, {"x;y\"", 1}};
    const subscription some{options, {"k"}};
    EXPECT_TRUE(some.takes("a"));
    EXPECT_TRUE(some.takes("x;y\""));
    EXPECT_FALSE(some.takes("b"));
    options.queues = {{"*", 1}};
    options.exclude = {"a"};
    const subscription others{options, {"k"}};
    EXPECT_FALSE(others.takes("a"));
    EXPECT_TRUE(others.takes("b"));
}

TEST(worker_subscription, names_within_a_namespace_are_short_or_full) {
    haul::worker_options options;
    options.name_space = "billing";
    options.queues = {{"mail", 1}, {"billing.print", 1}};
    const subscription mine{options, {"k"}};
    EXPECT_TRUE(mine.takes("billing.mail"));
    EXPECT_TRUE(mine.takes("billing.print"));
    EXPECT_FALSE(mine.takes("mail"));
    EXPECT_FALSE(mine.takes("billing.other"));
    options.queues.clear();
    EXPECT_TRUE((subscription{options, {"k"}}.takes("billing.other")));
    EXPECT_FALSE((subscription{options, {"k"}}.takes("billingother")));
}

TEST(worker_subscription, registers_what_it_takes) {
    haul::worker_options options;
    options.queues = {{"a", 3}, {"b", 1}};
    options.weighted = true;
    options.exclude = {"c"};
    options.min_priority = 5;
    const auto json = nlohmann::json::parse(subscription{options, {"k"}}.registration());
    EXPECT_EQ(json["queues"][0], (nlohmann::json{{"name", "a"}, {"weight", 3.0}}));
    EXPECT_EQ(json["order"], "weighted");
    EXPECT_EQ(json["exclude"], nlohmann::json{"c"});
    EXPECT_EQ(json["min_priority"], 5);
    EXPECT_EQ(json["kinds"], nlohmann::json{"k"});
    EXPECT_EQ(json["confirm_start"], true);
    EXPECT_EQ(json["wake"], "worker");
    EXPECT_FALSE(json.contains("namespace"));
}

TEST(worker_subscription, wants_to_be_woken_only_when_it_listens) {
    haul::worker_options options;
    for (const auto mode : {haul::wait_mode::call, haul::wait_mode::poll}) {
        options.wait = mode;
        EXPECT_EQ(nlohmann::json::parse(subscription{options, {"k"}}.registration())["wake"], "none");
    }
}

TEST(worker_subscription, needs_a_handler_and_threads) {
    haul::worker_options options;
    EXPECT_THROW((subscription{options, {}}), haul::error);
    options.max_threads = 0;
    EXPECT_THROW((subscription{options, {"k"}}), haul::error);
    options.max_threads = 2;
    options.min_threads = 3;
    EXPECT_THROW((subscription{options, {"k"}}), haul::error);
}

} // namespace
