// extension/cron/cron_expr.c, which needs no server.
extern "C" {
#include "cron/cron_expr.h"
}

#include <ctime>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace haul::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// An expression, or why it is none.
struct parsed {
    explicit parsed(const std::string& text) {
        // memory of its own, so that a sanitizer sees what is read or written beyond its end
        const std::vector<char> exact(text.begin(), text.end());
        std::vector<char> message(CRON_EXPR_ERROR_SIZE);
        good = cron_expr_parse(exact.data(), exact.size(), &expr, message.data());
        if (!good)
            error = message.data();
    }

    CronExpr expr;
    bool good;
    std::string error;
};

std::string error_of(const std::string& text) {
    return parsed(text).error;
}

std::int64_t local(const std::string& text) {
    std::tm fields{};
    EXPECT_NE(strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &fields), nullptr) << text;
    return timegm(&fields);
}

std::string shown(std::int64_t time) {
    const std::time_t seconds = time;
    std::tm fields{};
    char text[64];
    gmtime_r(&seconds, &fields);
    std::strftime(text, sizeof(text), "%a %F %T", &fields);
    return text;
}

constexpr std::int64_t century = 36525 * std::int64_t{86400};

std::optional<std::int64_t> next(const CronExpr& expr, std::int64_t after) {
    std::int64_t match;
    return cron_expr_first(&expr, after + 1, after + century, &match) ? std::optional(match) : std::nullopt;
}

std::optional<std::int64_t> previous(const CronExpr& expr, std::int64_t before) {
    std::int64_t match;
    return cron_expr_last(&expr, before - 1, before - century, &match) ? std::optional(match) : std::nullopt;
}

std::vector<std::string> matches(const std::string& text, const std::string& after, int count) {
    const parsed schedule(text);
    EXPECT_TRUE(schedule.good) << text << ": " << schedule.error;
    std::vector<std::string> found;
    std::optional<std::int64_t> at = local(after);
    while (schedule.good && count-- > 0 && (at = next(schedule.expr, *at)))
        found.push_back(shown(*at));
    return found;
}

/// The fields, in bits, with seconds first, and how days are chosen: a text that two expressions have in
/// common when they mean the same.
std::string meaning(const std::string& text) {
    const parsed schedule(text);
    if (!schedule.good)
        return schedule.error;
    const CronExpr& expr = schedule.expr;
    if (expr.kind == CRON_REBOOT)
        return "reboot";
    if (expr.kind == CRON_INTERVAL)
        return std::to_string(expr.interval) + " seconds";
    std::string result;
    const auto field = [&](std::uint64_t bits, const char* last = nullptr) {
        std::string values;
        for (int value = 0; value < 64; ++value)
            if (bits >> value & 1)
                values += "," + std::to_string(value);
        if (last)
            values += last;
        result += values.substr(1) + " ";
    };
    field(expr.seconds);
    field(expr.minutes);
    field(expr.hours);
    field(expr.days, expr.last_day ? ",$" : nullptr);
    field(expr.months);
    field(expr.weekdays);
    return result + (expr.either_day ? "either" : "both");
}

TEST(cron_expr, fields) {
    const std::string always = meaning("* * * * *");
    EXPECT_EQ(meaning("0 * * * * *"), always);
    EXPECT_EQ(meaning(" \t*\t*  * *   * "), always);
    EXPECT_EQ(meaning("0-59 0-23 1-31 1-12 0-7").substr(0, always.size() - 4),
              always.substr(0, always.size() - 4));
    EXPECT_NE(meaning("* * * * * *"), always);

    EXPECT_EQ(meaning("1,3,05 2 4 6 1"), "0 1,3,5 2 4 6 1 either");
    EXPECT_EQ(meaning("7 1,3,05 2 4 6 *"), "7 1,3,5 2 4 6 0,1,2,3,4,5,6 both");
    EXPECT_EQ(meaning("*/20 */12 */15 */5 */3"), "0 0,20,40 0,12 1,16,31 1,6,11 0,3,6 both");
    EXPECT_EQ(meaning("10-40/10 5-6 30 2-12/10 1-5/2"), "0 10,20,30,40 5,6 30 2,12 1,3,5 either");
    EXPECT_EQ(meaning("5/15 20/2 25/3 10/1 5/2"), "0 5,20,35,50 20,22 25,28,31 10,11,12 0,5 either");
    EXPECT_EQ(meaning("5,10-12,50/5,*/30 0 1 1 1"), "0 0,5,10,11,12,30,50,55 0 1 1 1 either");
    EXPECT_EQ(meaning("*/60 */24 */31 */12 */7"), "0 0 0 1 1 0 both") << "the largest steps";
}

TEST(cron_expr, names_of_months_and_days) {
    EXPECT_EQ(meaning("0 0 1 jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec *"), meaning("0 0 1 * *"));
    EXPECT_EQ(meaning("0 0 1 jAN-Mar/2,DEC mon"), meaning("0 0 1 1,3,12 1"));
    EXPECT_EQ(meaning("0 0 1 1 sun,mon,tue,wed,thu,fri,sat"), meaning("0 0 1 1 0,1,2,3,4,5,6"));
    EXPECT_EQ(meaning("0 0 1 1 Mon-fri"), meaning("0 0 1 1 1-5"));
}

TEST(cron_expr, sunday_begins_and_ends_a_week) {
    EXPECT_EQ(meaning("0 0 1 1 7"), "0 0 0 1 1 0 either");
    EXPECT_EQ(meaning("0 0 1 1 0"), meaning("0 0 1 1 7"));
    for (const char* days : {"5-7", "fri-sun", "FRI-0", "5-sun", "5/1"})
        EXPECT_EQ(meaning(std::string("0 0 1 1 ") + days), "0 0 0 1 1 0,5,6 either") << days;
    EXPECT_EQ(meaning("0 0 1 1 sun-tue"), "0 0 0 1 1 0,1,2 either");
    EXPECT_EQ(meaning("0 0 1 1 sun-sun"), meaning("0 0 1 1 7-7"));
    EXPECT_EQ(meaning("0 0 1 1 0-7"), "0 0 0 1 1 0,1,2,3,4,5,6 either");
    EXPECT_EQ(meaning("0 0 1 1 tue-sun/2"), "0 0 0 1 1 2,4,6 either");
    EXPECT_EQ(meaning("0 0 1 1 wed-sun/2"), "0 0 0 1 1 0,3,5 either");
    EXPECT_THAT(error_of("0 0 1 1 7-2"), HasSubstr("backwards"));
}

TEST(cron_expr, predefined_names) {
    EXPECT_EQ(meaning("@yearly"), meaning("0 0 1 1 *"));
    EXPECT_EQ(meaning("@annually"), meaning("0 0 1 1 *"));
    EXPECT_EQ(meaning("@monthly"), meaning("0 0 1 * *"));
    EXPECT_EQ(meaning("@weekly"), meaning("0 0 * * 0"));
    EXPECT_EQ(meaning("@daily"), meaning("0 0 * * *"));
    EXPECT_EQ(meaning("@midnight"), meaning("0 0 * * *"));
    EXPECT_EQ(meaning(" @Hourly\t"), meaning("0 * * * *"));
    EXPECT_EQ(meaning("@every_minute"), meaning("* * * * *"));
    EXPECT_EQ(meaning("@every_second"), meaning("* * * * * *"));
    EXPECT_EQ(meaning("@REBOOT"), "reboot");
    EXPECT_EQ(meaning("@restart"), "reboot");
}

TEST(cron_expr, intervals) {
    EXPECT_EQ(meaning("1 second"), "1 seconds");
    EXPECT_EQ(meaning(" 30\tSeconds "), "30 seconds");
    EXPECT_EQ(meaning("59 second"), "59 seconds");
    EXPECT_EQ(meaning("86400 seconds"), "86400 seconds");
}

TEST(cron_expr, says_what_is_wrong) {
    const std::pair<const char*, const char*> cases[] = {
        {"", "it is empty"},
        {" \t ", "it is empty"},
        {"*", "it has 1 field, not 5 or 6"},
        {"* * * *", "it has 4 fields, not 5 or 6"},
        {"* * * * * * *", "it has 7 fields, not 5 or 6"},
        {"60 * * * *", "minute \"60\" is not in 0-59"},
        {"* 24 * * *", "hour \"24\" is not in 0-23"},
        {"* * 0 * *", "day-of-month \"0\" is not in 1-31"},
        {"* * 32 * *", "day-of-month \"32\" is not in 1-31"},
        {"* * * 0 *", "month \"0\" is not in 1-12"},
        {"* * * 13 *", "month \"13\" is not in 1-12"},
        {"* * * * 8", "day-of-week \"8\" is not in 0-7"},
        {"60 * * * * *", "second \"60\" is not in 0-59"},
        {"10-99 * * * *", "minute \"99\" is not in 0-59"},
        {"99999999999999999999 * * * *", "minute \"99999999999999999999\" is not in 0-59"},
        {"-1 * * * *", "minute \"-1\": a number from 0 to 59 is missing"},
        {"5- * * * *", "minute \"5-\": a number from 0 to 59 is missing"},
        {"mon * * * *", "minute \"mon\": a number from 0 to 59 is missing"},
        {"* * L * *", "day-of-month \"L\": a number from 1 to 31, or $ for the last day, is missing"},
        {"* * $-3 * *", "day-of-month \"$-3\": a number from 1 to 31, or $ for the last day, is missing"},
        {"$ * * * *", "minute \"$\": a number from 0 to 59 is missing"},
        {"* * * mon *", "month \"mon\": a number from 1 to 12 or a name from jan to dec is missing"},
        {"* * * january *", "month \"january\": a number from 1 to 12 or a name from jan to dec is missing"},
        {"* * * * ?", "day-of-week \"?\": a number from 0 to 7 or a name from sun to sat is missing"},
        {"* * * * mo", "day-of-week \"mo\": a number from 0 to 7 or a name from sun to sat is missing"},
        {"30-10 * * * *", "minute \"30-10\": the range runs backwards"},
        {"* * * nov-feb *", "month \"nov-feb\": the range runs backwards"},
        {"* * * * sat-mon", "day-of-week \"sat-mon\": the range runs backwards"},
        {"*/0 * * * *", "minute \"*/0\": the step, after the slash, is not in 1-60"},
        {"*/61 * * * *", "minute \"*/61\": the step, after the slash, is not in 1-60"},
        {"* 1-5/ * * *", "hour \"1-5/\": the step, after the slash, is not in 1-24"},
        {"* */-1 * * *", "hour \"*/-1\": the step, after the slash, is not in 1-24"},
        {"* * * * */8", "day-of-week \"*/8\": the step, after the slash, is not in 1-7"},
        {"* * * * */mon", "day-of-week \"*/mon\": the step, after the slash, is not in 1-7"},
        {"1,,2 * * * *", "minute \"1,,2\": a value is missing beside a comma"},
        {"1, 2 * * *", "minute \"1,\": a value is missing beside a comma"},
        {",1 * * * *", "minute \",1\": a value is missing beside a comma"},
        {"5x * * * *", "minute \"5x\": \"x\" does not belong there"},
        {"*5 * * * *", "minute \"*5\": \"5\" does not belong there"},
        {"1-5-7 * * * *", "minute \"1-5-7\": \"-7\" does not belong there"},
        {"1/2/3 * * * *", "minute \"1/2/3\": \"/3\" does not belong there"},
        {"1-*/2 * * * *", "minute \"1-*/2\": a number from 0 to 59 is missing"},
        {"* * $/2 * *", "day-of-month \"$/2\": a number from 1 to 31, or $ for the last day, is missing"},
        {"0 0 30 2 *", "it never matches: no month that it names has such a day"},
        {"0 0 31 2,4,6,9,11 *", "it never matches: no month that it names has such a day"},
        {"0 0 30-31 feb */2", "it never matches: no month that it names has such a day"},
        {"@fortnightly",
         "\"@fortnightly\" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
         "@hourly, @every_minute, @every_second, @reboot"},
        {"@", "\"@\" is none of @yearly"},
        {"@daily *", "\"*\" stands after a name, where nothing may"},
        {"0 seconds", "\"0\" is not in 1-86400 seconds"},
        {"86401 seconds", "\"86401\" is not in 1-86400 seconds"},
        {"5 minutes", "\"minutes\": intervals are in seconds; */5 as the minute is every five minutes"},
        {"5 secondss", "\"secondss\": intervals are in seconds"},
        {"5 seconds ago", "it has 3 fields, not 5 or 6"},
        {"* * * *\n*", "it has 4 fields, not 5 or 6"},
        {"* * * * *\n", "day-of-week \"*?\": \"?\" does not belong there"},
        {"\xc3\xa9 * * * *", "minute \"??\": a number from 0 to 59 is missing"},
        {"1,2,3,4,5,6,7,8,9,10,11,x * * * *", "minute \"x\": a number from 0 to 59 is missing"},
        {"1,2,3,4,5,6,7,8,9,10,11,12, * * * *",
         "minute \"1,2,3,4,5,6,7,8,9,10,11,...\": a value is missing beside a comma"},
    };
    for (const auto& [text, error] : cases)
        EXPECT_THAT(error_of(text), HasSubstr(error)) << text;

    std::string longest = "* * * * *";
    longest.resize(CRON_EXPR_MAX_LENGTH, ' ');
    EXPECT_EQ(error_of(longest), "");
    EXPECT_EQ(error_of(longest + " "), "it is longer than 1000 bytes");
}

TEST(cron_expr, matches_in_order) {
    EXPECT_THAT(matches("*/20 9-10 * * *", "2026-01-01 00:00:00", 7),
                ElementsAre("Thu 2026-01-01 09:00:00", "Thu 2026-01-01 09:20:00", "Thu 2026-01-01 09:40:00",
                            "Thu 2026-01-01 10:00:00", "Thu 2026-01-01 10:20:00", "Thu 2026-01-01 10:40:00",
                            "Fri 2026-01-02 09:00:00"));
    EXPECT_THAT(matches("30 59 23 31 12 *", "2026-12-31 23:59:29", 2),
                ElementsAre("Thu 2026-12-31 23:59:30", "Fri 2027-12-31 23:59:30"));
    EXPECT_THAT(matches("* * * * *", "2024-02-29 23:59:00", 1), ElementsAre("Fri 2024-03-01 00:00:00"))
        << "strictly after";
}

TEST(cron_expr, last_day_of_the_month) {
    EXPECT_THAT(matches("0 12 $ * *", "2027-12-31 12:00:00", 4),
                ElementsAre("Mon 2028-01-31 12:00:00", "Tue 2028-02-29 12:00:00", "Fri 2028-03-31 12:00:00",
                            "Sun 2028-04-30 12:00:00"));
    EXPECT_THAT(matches("0 0 15,$ 2 *", "2100-01-01 00:00:00", 3),
                ElementsAre("Mon 2100-02-15 00:00:00", "Sun 2100-02-28 00:00:00", "Tue 2101-02-15 00:00:00"));
    EXPECT_THAT(matches("0 0 $,30 4 *", "2026-01-01 00:00:00", 2),
                ElementsAre("Thu 2026-04-30 00:00:00", "Fri 2027-04-30 00:00:00"));
    EXPECT_THAT(matches("0 0 $ * fri", "2026-01-25 00:00:00", 3),
                ElementsAre("Fri 2026-01-30 00:00:00", "Sat 2026-01-31 00:00:00", "Fri 2026-02-06 00:00:00"));
}

// As cron has it: both restricted, either suffices; a field that begins with * is not restricted.
TEST(cron_expr, days_of_month_and_week) {
    EXPECT_THAT(matches("0 0 13 * 5", "2026-02-01 00:00:00", 3),
                ElementsAre("Fri 2026-02-06 00:00:00", "Fri 2026-02-13 00:00:00", "Fri 2026-02-20 00:00:00"));
    EXPECT_THAT(matches("0 0 14 * 5", "2026-02-12 00:00:00", 3),
                ElementsAre("Fri 2026-02-13 00:00:00", "Sat 2026-02-14 00:00:00", "Fri 2026-02-20 00:00:00"));
    EXPECT_THAT(matches("0 0 */31 * mon", "2026-01-01 00:00:00", 2),
                ElementsAre("Mon 2026-06-01 00:00:00", "Mon 2027-02-01 00:00:00"));
    EXPECT_THAT(matches("0 0 13 * */5", "2026-02-01 00:00:00", 3),
                ElementsAre("Fri 2026-02-13 00:00:00", "Fri 2026-03-13 00:00:00", "Sun 2026-09-13 00:00:00"));
}

// A 29 February on a Sunday, past the year 2100, which is none of the leap years.
TEST(cron_expr, finds_what_is_rare) {
    EXPECT_THAT(matches("0 0 29 2 */7", "2088-02-29 00:00:00", 2),
                ElementsAre("Sun 2128-02-29 00:00:00", "Sun 2156-02-29 00:00:00"));
    const parsed rare("0 0 29 2 */7");
    EXPECT_EQ(shown(*previous(rare.expr, local("2128-02-29 00:00:00"))), "Sun 2088-02-29 00:00:00");
}

TEST(cron_expr, keeps_to_its_bounds) {
    const parsed noon("0 12 * * *");
    const std::int64_t at = local("2026-05-05 12:00:00");
    std::int64_t match;
    EXPECT_TRUE(cron_expr_first(&noon.expr, at, at, &match));
    EXPECT_EQ(match, at);
    EXPECT_TRUE(cron_expr_last(&noon.expr, at, at, &match));
    EXPECT_EQ(match, at);
    EXPECT_FALSE(cron_expr_first(&noon.expr, at + 1, at + 86399, &match));
    EXPECT_FALSE(cron_expr_last(&noon.expr, at + 86399, at + 1, &match));
    EXPECT_FALSE(cron_expr_first(&noon.expr, at, at - 1, &match));
    EXPECT_FALSE(cron_expr_last(&noon.expr, at - 1, at, &match));
}

/// Expressions made up at random, most of which are good.
class generator {
public:
    explicit generator(std::uint32_t seed) : random_(seed) {}

    int number(int low, int high) { return std::uniform_int_distribution<int>{low, high}(random_); }

    std::string expression() {
        switch (number(0, 19)) {
        case 0:
            return std::vector<std::string>{"@yearly",       "@annually", "@monthly", "@weekly",
                                            "@daily",        "@midnight", "@hourly",  "@every_minute",
                                            "@every_second", "@reboot"}[number(0, 9)];
        case 1:
            return std::to_string(number(1, 90000)) + " seconds";
        }
        std::string text = number(0, 2) == 0 ? list(0, 59) + blank() : "";
        text += list(0, 59) + blank() + list(0, 23) + blank();
        text += (number(0, 7) == 0 ? "$" : list(1, 31)) + blank();
        return text + list(1, 12) + blank() + list(0, 7);
    }

    /// What becomes of a text by a few accidents.
    std::string mutated(std::string text) {
        static const std::string alphabet = "*/-,$ @0123456789jansunfeb\t\n\xff";
        for (int n = number(1, 4); n > 0; --n) {
            const std::size_t at = number(0, static_cast<int>(text.size()));
            const char letter = alphabet[number(0, static_cast<int>(alphabet.size()) - 1)];
            if (at == text.size() || number(0, 2) == 0)
                text.insert(at, 1, letter);
            else if (number(0, 1) == 0)
                text.erase(at, 1);
            else
                text[at] = letter;
        }
        return text;
    }

    std::string noise() {
        std::string text(number(0, 40), ' ');
        for (char& c : text)
            c = static_cast<char>(number(0, 255));
        return text;
    }

    std::int64_t time() {
        return std::uniform_int_distribution<std::int64_t>{-5 * century, 10 * century}(random_);
    }

private:
    std::string blank() { return number(0, 9) == 0 ? " \t " : " "; }

    std::string item(int low, int high) {
        const int first = number(low, high), last = number(first, high);
        const std::string step = "/" + std::to_string(number(1, high - low));
        switch (number(0, 5)) {
        case 0:
            return "*" + step;
        case 1:
            return std::to_string(first) + step;
        case 2:
            return std::to_string(first) + "-" + std::to_string(last) + step;
        case 3:
            return std::to_string(first) + "-" + std::to_string(last);
        default:
            return std::to_string(first);
        }
    }

    std::string list(int low, int high) {
        if (number(0, 2) == 0)
            return "*";
        std::string text = item(low, high);
        while (number(0, 2) == 0)
            text += "," + item(low, high);
        return text;
    }

    std::mt19937 random_;
};

/// Whether a local time matches, with the calendar of the C library.
bool is_match(const CronExpr& expr, std::int64_t time) {
    const std::time_t seconds = time;
    std::tm now{}, tomorrow{};
    const std::time_t next_day = seconds + 86400;
    gmtime_r(&seconds, &now);
    gmtime_r(&next_day, &tomorrow);
    const bool day = (expr.days >> now.tm_mday & 1) || (expr.last_day && tomorrow.tm_mday == 1);
    const bool weekday = expr.weekdays >> now.tm_wday & 1;
    return (expr.seconds >> now.tm_sec & 1) && (expr.minutes >> now.tm_min & 1) &&
           (expr.hours >> now.tm_hour & 1) && (expr.months >> (now.tm_mon + 1) & 1) &&
           (expr.either_day ? day || weekday : day && weekday);
}

// Forward and backward, a search finds what looking at each second would.
TEST(cron_expr, misses_nothing) {
    const std::uint32_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    generator random(seed);
    for (int round = 0; round < 400; ++round) {
        const std::string text = random.expression();
        const parsed schedule(text);
        if (!schedule.good || schedule.expr.kind != CRON_CALENDAR)
            continue;
        const std::int64_t from = random.time();
        const std::int64_t until = from + random.number(0, 20000);
        std::vector<std::int64_t> expected, forward, backward;
        for (std::int64_t time = from; time <= until; ++time)
            if (is_match(schedule.expr, time))
                expected.push_back(time);
        std::int64_t at;
        for (std::int64_t time = from; cron_expr_first(&schedule.expr, time, until, &at); time = at + 1)
            forward.push_back(at);
        for (std::int64_t time = until; cron_expr_last(&schedule.expr, time, from, &at); time = at - 1)
            backward.insert(backward.begin(), at);
        ASSERT_EQ(forward, expected) << text << " from " << shown(from);
        ASSERT_EQ(backward, expected) << text << " from " << shown(from);
    }
}

// Whatever the text, reading it stays within it and means one thing; what is read matches some time, and the
// searches in both directions are each other's inverse.
TEST(cron_expr, takes_any_text) {
    const std::uint32_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    generator random(seed);
    int good = 0;
    const std::clock_t end = std::clock() + 2 * CLOCKS_PER_SEC;
    for (int round = 0; round < 200000 && std::clock() < end; ++round) {
        const std::string text = round % 4 == 0   ? random.noise()
                                 : round % 4 == 1 ? random.expression()
                                                  : random.mutated(random.expression());
        const parsed schedule(text);
        if (!schedule.good) {
            ASSERT_FALSE(schedule.error.empty()) << text;
            for (const char c : schedule.error)
                ASSERT_TRUE(c >= ' ' && c <= '~') << text << ": " << schedule.error;
            continue;
        }
        ++good;
        const CronExpr& expr = schedule.expr;
        const std::string means = meaning(text);
        ASSERT_EQ(meaning("\t" + text + " "), means) << text;
        if (expr.kind == CRON_INTERVAL) {
            ASSERT_TRUE(expr.interval >= 1 && expr.interval <= CRON_EXPR_MAX_INTERVAL) << text;
            ASSERT_EQ(meaning(means), means) << text;
        }
        if (expr.kind != CRON_CALENDAR)
            continue;
        if (expr.either_day) {
            // what it means, written out, means the same
            ASSERT_EQ(meaning(means.substr(0, means.rfind(' '))), means) << text;
        }

        const std::int64_t start = random.time();
        const auto first = next(expr, start);
        ASSERT_TRUE(first) << text << " after " << shown(start);
        ASSERT_GT(*first, start) << text;
        ASSERT_TRUE(is_match(expr, *first)) << text << " after " << shown(start) << ": " << shown(*first);
        const auto second = next(expr, *first);
        ASSERT_TRUE(second) << text;
        ASSERT_EQ(previous(expr, *second), first) << text << " before " << shown(*second);
        const auto before = previous(expr, *first);
        ASSERT_TRUE(before) << text;
        ASSERT_LE(*before, start) << text;
        ASSERT_EQ(next(expr, *before), first) << text;
    }
    EXPECT_GT(good, 1000);
}

} // namespace
} // namespace haul::test
