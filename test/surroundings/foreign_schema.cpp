// A schema haul that was there before the extension.
#include "support/cluster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace haul::test {
namespace {

using ::testing::HasSubstr;

class foreign_schema : public ::testing::Test {
protected:
    foreign_schema() {
        database.exec(
            "DROP EXTENSION pg_haul; DROP SCHEMA haul; CREATE ROLE mallory; CREATE ROLE chief SUPERUSER");
        database.exec("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS ''");
    }

    // What becomes of CREATE EXTENSION in such a schema.
    std::string install_after(const std::string& preparation) {
        database.exec("DROP SCHEMA IF EXISTS haul CASCADE; CREATE SCHEMA haul; " + preparation);
        try {
            database.exec("CREATE EXTENSION pg_haul");
            database.exec("SELECT haul.enqueue('k')");
            database.exec("DROP EXTENSION pg_haul");
            return "installed";
        } catch (const sql_error& error) {
            EXPECT_EQ(error.sqlstate(), "42P06");
            EXPECT_NE(error.hint(), "");
            return error.what();
        }
    }

    cluster server;
    session database{server.create_database()};
};

TEST_F(foreign_schema, is_refused_if_somebody_could_put_functions_into_it) {
    EXPECT_THAT(install_after("ALTER SCHEMA haul OWNER TO mallory"),
                HasSubstr("belongs to role \"mallory\""));
    EXPECT_THAT(install_after("GRANT ALL ON SCHEMA haul TO mallory"),
                HasSubstr("role \"mallory\" may create"));
    EXPECT_THAT(install_after("GRANT CREATE ON SCHEMA haul TO PUBLIC"), HasSubstr("everybody may create"));
}

TEST_F(foreign_schema, is_refused_if_there_is_something_in_it) {
    const std::string refused = "is not empty";
    EXPECT_THAT(install_after("ALTER FUNCTION f() SET SCHEMA haul"), HasSubstr(refused));
    EXPECT_THAT(install_after("CREATE TABLE haul.t ()"), HasSubstr(refused));
    EXPECT_THAT(install_after("CREATE TYPE haul.t AS ENUM ()"), HasSubstr(refused));
    EXPECT_THAT(
        install_after("CREATE OPERATOR haul.= (LEFTARG = name, RIGHTARG = text, FUNCTION = nameeqtext)"),
        HasSubstr(refused));
    EXPECT_THAT(install_after("ALTER DEFAULT PRIVILEGES IN SCHEMA haul GRANT ALL ON TABLES TO mallory"),
                HasSubstr(refused));
    EXPECT_THAT(
        install_after(
            "CREATE FUNCTION haul._workflow_edges(jsonb, text) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        HasSubstr(refused));
}

TEST_F(foreign_schema, that_is_ours_serves) {
    EXPECT_EQ(install_after(""), "installed");
    // as in a dump, which makes it before the extension, and restores who owns it
    EXPECT_EQ(install_after("ALTER SCHEMA haul OWNER TO chief; COMMENT ON SCHEMA haul IS 'x';"
                            "GRANT USAGE ON SCHEMA haul TO mallory"),
              "installed");
}

} // namespace
} // namespace haul::test
