// Databases whose encoding is not UTF-8.
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <atomic>

namespace haul::test {
namespace {

class encodings : public worker_fixture {
protected:
    /// A database of the encoding, for the test to use instead of its own.
    void use(const std::string& encoding) {
        const auto name = "encoding_" + std::to_string(databases);
        sql.exec("CREATE DATABASE " + name + " ENCODING '" + encoding + "' LOCALE 'C' TEMPLATE template0");
        dsn = server->dsn(name);
        sql = session{dsn};
        sql.exec("CREATE EXTENSION pg_haul");
        sql.exec("SET client_encoding = 'UTF8'");
    }
    /// Runs what is due with this program for the kind "k".
    void run(const std::string& shell) {
        auto how = options();
        how.exit_when_empty = true;
        worker w{how};
        w.add({"k", handler_spec::type::exec, {"sh", "-c", shell}});
        w.start();
        w.join();
    }
};

TEST_F(encodings, latin1_keeps_each_outcome_and_what_it_can_of_the_text) {
    use("LATIN1");
    const auto job = [&](int status) {
        return enqueue("k", "args, backoff",
                       "'{\"status\": " + std::to_string(status) + "}', 'constant(3600)'");
    };
    const auto done = job(0), discarded = job(100), failed = job(101), again = job(1);
    sql.exec("INSERT INTO haul.jobs (kind, args) SELECT 'k', '{\"status\": 0}' FROM generate_series(1, 40)");
    run("read -r job; echo '✓ é'; echo 'mal ✓ é' >&2; exit $(echo \"$job\" | sed 's/.*\"status\": "
        "*\\([0-9]*\\).*/\\1/')");
    EXPECT_EQ(ended(done, "state || result || attempt"), "completed\"? ?\"1");
    EXPECT_EQ(ended(discarded, "state || ': ' || last_error"), "discarded: exit status 100: mal ? ?");
    EXPECT_EQ(ended(failed, "state || ': ' || last_error"), "failed: exit status 101: mal ? ?");
    EXPECT_EQ(live(again, "state || ': ' || last_error"), "ready: exit status 1: mal ? ?");
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.finished_jobs WHERE state = 'completed'"), 41);
}

TEST_F(encodings, latin1_text_that_it_has_stays_as_it_is) {
    use("LATIN1");
    const auto id = enqueue("k", "args", "'{\"name\": \"é\"}'");
    run("read -r job; echo \"$job\" | grep -o 'é'");
    EXPECT_EQ(ended(id, "state || result"), "completed\"é\"");
}

TEST_F(encodings, sql_ascii_bytes_that_are_not_utf_8_fail_their_job_alone) {
    for (const auto wait : {wait_mode::listen, wait_mode::call}) {
        use("SQL_ASCII");
        worker w{[&] {
            auto how = options();
            how.wait = wait;
            return how;
        }()};
        std::atomic<int> runs{0};
        w.on("k", [&](const job_context&) { ++runs; });
        w.start();
        await_end(enqueue("k"));
        sql.exec("SET client_encoding = 'SQL_ASCII'");
        const auto bad = enqueue("k", "args", "'{\"name\": \"\xE9\"}'");
        const auto good = enqueue("k", "args", "'{\"name\": \"é\"}'");
        await_end(bad);
        await_end(good);
        EXPECT_EQ(ended(bad, "state || ': ' || last_error"),
                  "failed: the arguments of the job are not UTF-8");
        EXPECT_EQ(ended(good, "state || attempt"), "completed1");
        EXPECT_EQ(runs, 2);
        w.stop();
        w.join();
        ++databases;
    }
}

} // namespace
} // namespace haul::test
