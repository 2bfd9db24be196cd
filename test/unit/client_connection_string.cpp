#include "haul/connection.hpp"
#include "haul/error.hpp"

#include <cstdlib>
#include <gmock/gmock.h>
#include <libpq-fe.h>
#include <map>

namespace haul {
namespace {

/// The keywords that a string sets, as libpq reads it.
std::map<std::string, std::string> parsed(const std::string& string) {
    std::map<std::string, std::string> result;
    PQconninfoOption* options = PQconninfoParse(string.c_str(), nullptr);
    for (const PQconninfoOption* option = options; option && option->keyword; ++option) {
        if (option->val)
            result[option->keyword] = option->val;
    }
    PQconninfoFree(options);
    return result;
}

class client_connection_string : public testing::Test {
protected:
    client_connection_string() {
        for (const char* name : {"PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGSERVICE"})
            unsetenv(name);
    }
    ~client_connection_string() override {
        unsetenv("PGCONNECT_TIMEOUT");
        unsetenv("PGSERVICE");
    }
};

TEST_F(client_connection_string, empty_gets_all_defaults) {
    const std::map<std::string, std::string> expected = {
        {"fallback_application_name", "haul worker \"it's\\me\""},
        {"client_encoding", "UTF8"},
        {"connect_timeout", "10"},
        {"keepalives_idle", "30"},
        {"tcp_user_timeout", "15000"}};
    EXPECT_EQ(parsed(connection_string("", "haul worker \"it's\\me\"")), expected);
}

TEST_F(client_connection_string, keeps_what_keywords_and_values_say) {
    auto settings = parsed(connection_string("host=a,b connect_timeout=3 "
                                             "target_session_attrs=read-write application_name=me"));
    EXPECT_EQ(settings["host"], "a,b");
    EXPECT_EQ(settings["connect_timeout"], "3");
    EXPECT_EQ(settings["target_session_attrs"], "read-write");
    EXPECT_EQ(settings["application_name"], "me");
    EXPECT_EQ(settings["tcp_user_timeout"], "15000");
}

TEST_F(client_connection_string, values_survive_quoting) {
    EXPECT_EQ(parsed(connection_string("password='a b\\'c\\\\d'"))["password"], "a b'c\\d");
}

TEST_F(client_connection_string, keeps_what_a_uri_says) {
    auto settings =
        parsed(connection_string("postgresql://ann:p%40ss@db:5433,db2:5434/app?tcp_user_timeout=7"));
    EXPECT_EQ(settings["host"], "db,db2");
    EXPECT_EQ(settings["port"], "5433,5434");
    EXPECT_EQ(settings["user"], "ann");
    EXPECT_EQ(settings["password"], "p@ss");
    EXPECT_EQ(settings["dbname"], "app");
    EXPECT_EQ(settings["tcp_user_timeout"], "7");
    EXPECT_EQ(settings["connect_timeout"], "10");
}

TEST_F(client_connection_string, keeps_what_the_environment_says) {
    setenv("PGCONNECT_TIMEOUT", "4", 1);
    EXPECT_EQ(parsed(connection_string("")).count("connect_timeout"), 0u);
}

TEST_F(client_connection_string, does_not_override_a_service_file) {
    EXPECT_EQ(parsed(connection_string("service=app")).count("connect_timeout"), 0u);
    EXPECT_EQ(parsed(connection_string("service=app")).count("fallback_application_name"), 1u);
    setenv("PGSERVICE", "app", 1);
    EXPECT_EQ(parsed(connection_string("")).count("tcp_user_timeout"), 0u);
}

TEST_F(client_connection_string, refuses_what_libpq_cannot_read) {
    EXPECT_THROW(connection_string("host"), error);
    EXPECT_THROW(connection_string("colour=red"), error);
    EXPECT_THROW(connection_string("postgresql://[::1"), error);
}

TEST_F(client_connection_string, a_server_that_is_not_there_is_a_connection_error) {
    try {
        connection{"host=/nonexistent"};
        FAIL();
    } catch (const connection_error& e) {
        EXPECT_EQ(e.sqlstate(), "08006");
        EXPECT_THAT(e.what(), testing::HasSubstr("/nonexistent"));
    }
}

} // namespace
} // namespace haul
