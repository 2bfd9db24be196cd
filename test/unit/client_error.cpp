#include "haul/error.hpp"

#include <gmock/gmock.h>
#include <pqxx/pqxx>

namespace haul {
namespace {

template <typename Error>
Error caught(const std::string& text, const std::string& sqlstate) {
    try {
        throw_error(text, sqlstate);
    } catch (const Error& e) {
        EXPECT_EQ(typeid(e), typeid(Error));
        return e;
    }
}

template <typename Exception>
std::exception_ptr pointer(Exception exception) {
    return std::make_exception_ptr(std::move(exception));
}

TEST(client_error, splits_the_report_of_the_server) {
    const auto e = caught<bad_job>("ERROR:  job priority must be between 1 and 32767, not 0\n"
                                   "DETAIL:  first line\nsecond line\n"
                                   "HINT:  1 runs first.\n"
                                   "CONTEXT:  COPY jobs, line 3\n"
                                   "somewhere\n",
                                   "22023");
    EXPECT_STREQ(e.what(), "job priority must be between 1 and 32767, not 0");
    EXPECT_EQ(e.detail(), "first line\nsecond line");
    EXPECT_EQ(e.hint(), "1 runs first.");
    EXPECT_EQ(e.sqlstate(), "22023");
}

TEST(client_error, keeps_messages_of_several_lines_and_drops_the_statement) {
    const auto e = caught<error>("ERROR:  one\ntwo\nLINE 1: SELECT x\n               ^\n", "42601");
    EXPECT_STREQ(e.what(), "one\ntwo");
    EXPECT_EQ(e.hint(), "");
}

TEST(client_error, sqlstates_have_types) {
    caught<duplicate_job>("ERROR:  x", "23505");
    caught<bad_job>("ERROR:  x", "22P02");
    caught<bad_job>("ERROR:  x", "23514");
    caught<bad_job>("ERROR:  x", "23502");
    caught<not_owned>("ERROR:  x", "HQ001");
    caught<queue_full>("ERROR:  x", "HQ002");
    caught<unknown_worker>("ERROR:  x", "HQ003");
    caught<permission_denied>("ERROR:  x", "42501");
    caught<not_installed>("ERROR:  x", "42P01");
    caught<transaction_conflict>("ERROR:  x", "40P01");
    caught<connection_error>("FATAL:  x", "57P01");
    caught<connection_error>("FATAL:  x", "53300");
    caught<connection_error>("FATAL:  x", "08006");
    caught<error>("ERROR:  x", "0A000");
}

TEST(client_error, says_how_to_install_only_when_ours_is_missing) {
    EXPECT_THAT(caught<not_installed>("ERROR:  schema \"haul\" does not exist", "3F000").hint(),
                testing::HasSubstr("CREATE EXTENSION pg_haul"));
    EXPECT_THAT(
        caught<not_installed>("ERROR:  function haul.complete(bigint) does not exist", "42883").hint(),
        testing::HasSubstr("ALTER EXTENSION pg_haul UPDATE"));
    EXPECT_THAT(caught<not_installed>("ERROR:  relation \"haul.jobs\" does not exist", "42P01").hint(),
                testing::HasSubstr("CREATE EXTENSION pg_haul"));
    EXPECT_EQ(caught<not_installed>("ERROR:  function app.f() does not exist\nHINT:  h", "42883").hint(),
              "h");
}

TEST(client_error, translates_exceptions_of_libpqxx) {
    EXPECT_THROW(throw_translated(pointer(pqxx::broken_connection{"gone"})), connection_error);
    EXPECT_THROW(throw_translated(pointer(pqxx::in_doubt_error{"commit"})), connection_error);
    EXPECT_THROW(throw_translated(pointer(pqxx::unique_violation{"ERROR:  x", "", "23505"})), duplicate_job);
    EXPECT_THROW(throw_translated(pointer(pqxx::usage_error{"x"})), error);
    EXPECT_THROW(throw_translated(pointer(pqxx::conversion_error{"x"})), error);
    EXPECT_THROW(throw_translated(pointer(pqxx::range_error{"x"})), error);
    EXPECT_THROW(throw_translated(pointer(pqxx::argument_error{"x"})), error);
    EXPECT_THROW(throw_translated(pointer(pqxx::internal_error{"x"})), error);
    EXPECT_THROW(throw_translated(pointer(pqxx::failure{"x"})), error);
}

TEST(client_error, a_closed_connection_explains_every_exception) {
    EXPECT_THROW(throw_translated(pointer(pqxx::failure{"Could not obtain client encoding"}), true),
                 connection_error);
    EXPECT_THROW(throw_translated(pointer(pqxx::internal_error{"x"}), true), connection_error);
    EXPECT_THROW(throw_translated(pointer(pqxx::sql_error{"FATAL:  x", "", "25P03"}), true),
                 connection_error);
    // Without an SQLSTATE it is libpq that complains, and the connection may still look open.
    EXPECT_THROW(throw_translated(pointer(pqxx::sql_error{"server closed the connection unexpectedly"})),
                 connection_error);
}

TEST(client_error, leaves_the_exceptions_of_others_alone) {
    EXPECT_THROW(throw_translated(pointer(std::out_of_range{"mine"})), std::out_of_range);
    EXPECT_THROW(throw_translated(pointer(queue_full{"x", "HQ002"})), queue_full);
    EXPECT_THROW(throw_translated(pointer(3)), int);
}

} // namespace
} // namespace haul
