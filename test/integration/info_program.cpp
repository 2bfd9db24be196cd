#include "support/cluster.hpp"
#include "support/process.hpp"

#include <gmock/gmock.h>

namespace haul::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct result {
    int status;
    std::string output;
    std::string errors;
};

result haul(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), HAUL_PROGRAM);
    process program{arguments, environment};
    const int status = program.wait();
    return {status, program.output(), program.errors()};
}

/// haul info with a terminal for its standard output.
std::string info_on_terminal(const std::string& dsn, const std::map<std::string, std::string>& environment) {
    process program{
        {"script", "--quiet", "--return", "--command", HAUL_PROGRAM " info --dsn \"$DSN\"", "/dev/null"},
        [&] {
            auto all = environment;
            all["DSN"] = dsn;
            return all;
        }()};
    EXPECT_EQ(program.wait(), 0) << program.errors();
    return program.output();
}

class info_program : public testing::Test {
protected:
    cluster server_;
    std::string dsn_ = server_.create_database();
};

TEST_F(info_program, prints_plain_text_into_a_pipe_and_colours_on_a_terminal) {
    session{dsn_}.exec("INSERT INTO haul.jobs (kind, run_at) VALUES ('k', now() - interval '1 hour')");

    const auto piped = haul({"info", "--dsn", dsn_});
    EXPECT_EQ(piped.status, 0) << piped.errors;
    EXPECT_THAT(piped.output, HasSubstr("default"));
    EXPECT_THAT(piped.output, Not(HasSubstr("\033")));

    EXPECT_THAT(info_on_terminal(dsn_, {{"NO_COLOR", ""}}), HasSubstr("\033[1;31m60 min"));
    EXPECT_THAT(info_on_terminal(dsn_, {{"NO_COLOR", "1"}}), Not(HasSubstr("\033")));
}

TEST_F(info_program, libpq_environment_variables_work) {
    const auto here = haul({"info"}, {{"PGHOST", "/nonexistent"}});
    EXPECT_EQ(here.status, 1);
    EXPECT_THAT(here.errors, HasSubstr("/nonexistent"));
}

TEST_F(info_program, exit_status_and_hint_tell_what_is_wrong) {
    const auto missing = haul({"info", "--dsn", server_.dsn()});
    EXPECT_EQ(missing.status, 1);
    EXPECT_THAT(missing.errors, StartsWith("haul: "));
    EXPECT_THAT(missing.errors, HasSubstr("hint: CREATE EXTENSION pg_haul"));

    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{}, {"start"}, {"info", "--colour"}, {"run"}, {"run", "--threads", "0"}}) {
        const auto wrong = haul(arguments);
        EXPECT_EQ(wrong.status, 2);
        EXPECT_EQ(wrong.output, "");
        EXPECT_THAT(wrong.errors, StartsWith("haul: "));
    }

    EXPECT_EQ(haul({"--version"}).status, 0);
    EXPECT_THAT(haul({"help"}).output, HasSubstr("haul [OPTIONS]"));
}

} // namespace
} // namespace haul::test
