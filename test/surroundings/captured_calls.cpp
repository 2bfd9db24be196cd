// Whoever could put a function beside ours would have it called with the rights of the owner, if a call of
// ours fitted it better: an untyped literal is text by preference, and a function without defaults comes
// before one with them. So every call of our own names all arguments, with the very types of the function.
#include "support/cluster.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <regex>

namespace haul::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using signature = std::vector<std::string>; // types of the arguments
using signatures = std::multimap<std::string, signature>;

std::string trimmed(const std::string& text) {
    const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
    const auto end = std::find_if_not(text.rbegin(), std::make_reverse_iterator(begin), is_space).base();
    return {begin, end};
}

// The place behind the string, quoted name, dollar quote or comment that begins here; else the same place.
std::size_t behind_quoted(const std::string& sql, std::size_t at) {
    const auto behind = [&](const std::string& end, std::size_t from) {
        const std::size_t found = sql.find(end, from);
        return found == std::string::npos ? sql.size() : found + end.size();
    };
    if (sql[at] == '\'' || sql[at] == '"')
        return behind(sql.substr(at, 1), at + 1);
    if (sql.compare(at, 2, "--") == 0)
        return behind("\n", at);
    std::smatch tag;
    if (sql[at] == '$' && std::regex_search(sql.cbegin() + static_cast<std::ptrdiff_t>(at), sql.cend(), tag,
                                            std::regex(R"(^\$([A-Za-z_]\w*)?\$)")))
        return behind(tag.str(), at + tag.length());
    return at;
}

// Items between a parenthesis and the one that closes it.
std::vector<std::string> arguments(const std::string& sql, std::size_t at) {
    std::vector<std::string> found;
    std::string item;
    for (int depth = 0; at < sql.size();) {
        const std::size_t next = behind_quoted(sql, at);
        if (next != at) {
            if (sql.compare(at, 2, "--") != 0)
                item += sql.substr(at, next - at);
            at = next;
            continue;
        }
        const char c = sql[at++];
        depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
        if (depth == 0 || (depth == 1 && c == ',')) {
            if (!trimmed(item).empty())
                found.push_back(trimmed(item));
            item.clear();
        } else if (depth > 1 || c != '(') {
            item += c;
        }
        if (depth == 0)
            break;
    }
    return found;
}

// Whether an argument has no type but this, as far as can be said without its declaration.
bool may_be(std::string argument, const std::string& type) {
    argument = std::regex_replace(argument, std::regex(R"(^\w+\s*(=>|:=)\s*)"), "");
    if (std::regex_match(argument, std::regex(R"([eE]?'([^']|'')*'|null|NULL)")))
        return false;
    if (std::regex_match(argument, std::regex(R"(-?\d+)")))
        return type == "integer";
    if (std::regex_match(argument, std::regex(R"(true|false)", std::regex::icase)))
        return type == "boolean";
    std::smatch cast;
    if (std::regex_match(argument, cast, std::regex(R"([eE]?'(?:[^']|'')*'::([\w ]+(?:\[\])?))")))
        return cast[1] == type || (cast[1] == "timestamptz" && type == "timestamp with time zone");
    return true;
}

// Calls in a piece of SQL that a function not of ours could be called by.
std::vector<std::string> open_calls(const std::string& sql, const signatures& known) {
    static const std::regex call(R"(^haul\.(\w+)\s*(?=\())");
    std::vector<std::string> found;
    for (std::size_t at = 0; at < sql.size();) {
        const std::size_t next = behind_quoted(sql, at);
        std::smatch match;
        if (next != at) {
            at = next;
        } else if ((at == 0 || (std::isalnum(static_cast<unsigned char>(sql[at - 1])) == 0)) &&
                   sql[at] == 'h' &&
                   std::regex_search(sql.cbegin() + static_cast<std::ptrdiff_t>(at), sql.cend(), match,
                                     call)) {
            at += static_cast<std::size_t>(match.length());
            const auto [first, last] = known.equal_range(match[1]);
            const std::vector<std::string> given = arguments(sql, at);
            const bool closed = std::any_of(first, last, [&](const auto& function) {
                return std::equal(given.begin(), given.end(), function.second.begin(), function.second.end(),
                                  may_be);
            });
            if (first != last && !closed)
                found.push_back(match.str() + sql.substr(at, sql.find('\n', at) - at));
        } else {
            ++at;
        }
    }
    return found;
}

// Statements in string literals of C.
std::vector<std::string> statements(std::string source) {
    source = std::regex_replace(source, std::regex(R"("\s*\n\s*")"), "");
    static const std::regex literal(R"lit("((?:SELECT|CALL|INSERT|UPDATE|DELETE|WITH) (?:[^"\\]|\\.)*)")lit");
    std::vector<std::string> found;
    for (std::sregex_iterator match(source.begin(), source.end(), literal), end; match != end; ++match)
        found.push_back((*match)[1]);
    return found;
}

TEST(captured_calls, are_recognised) {
    const signatures known{{"f", {"text", "integer"}}, {"f", {"bigint"}}, {"g", {}}};
    EXPECT_THAT(
        open_calls(
            "haul.f('a'::text, 1) haul.f(x, y) haul.g() haul.f(x => (SELECT 1, 2), y => 1) haul.t('x')",
            known),
        IsEmpty());
    EXPECT_THAT(open_calls("-- haul.f()\n 'haul.f()' $a$ haul.f() $a$ \"haul.f()\"", known), IsEmpty());
    EXPECT_THAT(open_calls("x haul.f('a', 1)", known), ElementsAre("haul.f('a', 1)"));
    EXPECT_THAT(open_calls("haul.f(haul.g(1))", known), ElementsAre("haul.g(1))"));
    EXPECT_THAT(open_calls("haul.f(1)", known), ElementsAre("haul.f(1)"));
    EXPECT_THAT(open_calls("haul.f(x, NULL)", known), ElementsAre("haul.f(x, NULL)"));
    EXPECT_THAT(open_calls("haul.f('a'::name, 1)", known), ElementsAre("haul.f('a'::name, 1)"));
    EXPECT_THAT(open_calls("haul.f()", known), ElementsAre("haul.f()"));
    EXPECT_THAT(statements("f(\"SELECT haul\"\n  \".f()\", \"haul.f()\")"), ElementsAre("SELECT haul.f()"));
}

TEST(captured_calls, there_are_none) {
    cluster server;
    session database(server.create_database());
    signatures known;
    for (const row& r : database.exec(
             "SELECT p.proname, p.oid::regprocedure, array_to_string(ARRAY(SELECT format_type(t, NULL) FROM"
             " unnest(p.proargtypes) WITH ORDINALITY AS a (t, n) ORDER BY n), ',')"
             " FROM pg_proc AS p WHERE p.pronamespace = 'haul'::regnamespace")) {
        signature types;
        std::stringstream list(*r[2]);
        for (std::string type; std::getline(list, type, ',');)
            types.push_back(type);
        known.emplace(*r[0], types);
    }

    // Bodies of SQL functions, views and defaults are resolved when they are made.
    int bodies = 0;
    for (const row& r :
         database.exec("SELECT p.oid::regprocedure, p.prosrc FROM pg_proc AS p"
                       " WHERE p.pronamespace = 'haul'::regnamespace AND p.prosqlbody IS NULL"
                       " AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c')")) {
        ++bodies;
        EXPECT_THAT(open_calls(*r[1], known), IsEmpty()) << *r[0];
    }
    EXPECT_GT(bodies, 20);

    int found = 0;
    for (const auto& file : std::filesystem::recursive_directory_iterator(HAUL_SOURCE_DIR "/extension")) {
        if (file.path().extension() != ".c")
            continue;
        std::ifstream in(file.path());
        const std::string source{std::istreambuf_iterator<char>(in), {}};
        for (const std::string& statement : statements(source)) {
            ++found;
            EXPECT_THAT(open_calls(statement, known), IsEmpty()) << file.path();
        }
    }
    EXPECT_GT(found, 10);
}

} // namespace
} // namespace haul::test
