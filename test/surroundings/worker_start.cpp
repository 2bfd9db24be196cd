// Where a worker starts: without a database, behind a pooler, with the wrong password, told to stop
// meanwhile.
#include "support/pooler.hpp"
#include "support/process.hpp"
#include "support/worker_fixture.hpp"

#include <filesystem>
#include <iterator>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace haul::test {
namespace {

const std::string yaml = "haul:\n  handlers:\n    k: {builtin: noop}\n";

bool has(worker_process& program, const std::string& text) {
    return program->errors().find(text) != std::string::npos;
}

class worker_start : public worker_fixture {
protected:
    std::string database() const { return "worker_" + std::to_string(databases); }
    std::int64_t rows() { return sql.number("SELECT count(*) FROM haul.workers"); }
};

/// A server that takes connections and never says a word.
class silent_server {
public:
    silent_server() {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        (directory_.path() / ".s.PGSQL.5432").string().copy(address.sun_path, sizeof address.sun_path - 1);
        if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(socket_, 8) != 0)
            throw std::system_error{errno, std::generic_category(), "silent server"};
    }
    ~silent_server() { ::close(socket_); }
    std::string dsn() const { return "host=" + directory_.path().string() + " connect_timeout=600"; }

private:
    temporary_directory directory_;
    int socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

TEST_F(worker_start, waits_for_a_database_that_is_away) {
    server->stop("fast");
    worker_process program{dsn, yaml, {"--wait-for-database", "60", "--exit-when-empty"}};
    wait_until([&] { return has(program, "event=waiting_for_database"); }, "it waits");
    server->start();
    sql = session{dsn};
    EXPECT_EQ(program->wait(60s), 0) << program->errors();
}

TEST_F(worker_start, waits_for_a_database_no_longer_than_told) {
    for (const char* seconds : {"0", "1"}) {
        worker_process program{"host=/nonexistent", yaml, {"--wait-for-database", seconds}};
        EXPECT_EQ(program->wait(), 1);
        EXPECT_TRUE(has(program, "haul: ")) << program->errors();
    }
}

TEST_F(worker_start, does_not_wait_for_what_does_not_mend_itself) {
    auto other = dsn;
    other.replace(other.find("user=postgres"), 13, "user=nobody_there");
    worker_process nobody{other, yaml, {"--wait-for-database", "600"}};
    EXPECT_EQ(nobody->wait(), 1);
    EXPECT_TRUE(has(nobody, "pg_hba.conf")) << nobody->errors();
    worker_process nowhere{server->dsn("no_such_database"), yaml, {"--wait-for-database", "600"}};
    EXPECT_EQ(nowhere->wait(), 1);
    EXPECT_TRUE(has(nowhere, "\"no_such_database\" does not exist")) << nowhere->errors();
    EXPECT_FALSE(has(nowhere, "LOCATION")) << nowhere->errors();
    worker_process bare{server->dsn("postgres"), yaml, {"--wait-for-database", "600"}};
    EXPECT_EQ(bare->wait(), 1);
    EXPECT_TRUE(has(bare, "CREATE EXTENSION pg_haul")) << bare->errors();
}

TEST_F(worker_start, can_be_told_to_stop_while_it_connects) {
    silent_server silent;
    for (const int number : {SIGTERM, SIGINT}) {
        worker_process program{silent.dsn(), yaml, {"--wait-for-database", "600"}};
        const std::filesystem::directory_iterator none;
        const auto tasks = "/proc/" + std::to_string(program->pid()) + "/task";
        wait_until([&] { return std::distance(std::filesystem::directory_iterator{tasks}, none) > 1; },
                   "a thread of its own connects");
        program->signal(number);
        EXPECT_EQ(program->wait(15s), 0) << program->errors();
    }
}

TEST_F(worker_start, can_be_told_to_stop_while_it_waits_for_the_database) {
    worker_process program{"host=/nonexistent", yaml, {"--wait-for-database", "600"}};
    wait_until([&] { return has(program, "event=waiting_for_database"); }, "it waits");
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(15s), 0) << program->errors();
}

TEST_F(worker_start, a_stop_before_the_start_is_kept) {
    enqueue("k");
    worker w{options()};
    w.on("k", [](const job_context&) {});
    w.stop();
    w.start();
    w.join();
    EXPECT_EQ(rows(), 0);
    EXPECT_EQ(sql.number("SELECT count(*) FROM haul.jobs WHERE state = 'ready'"), 1);
}

TEST_F(worker_start, a_start_that_fails_can_be_made_again) {
    auto how = options();
    sql.exec("ALTER EXTENSION pg_haul DROP FUNCTION haul.register_worker(text, jsonb);"
             "ALTER FUNCTION haul.register_worker(text, jsonb) RENAME TO away");
    worker w{how};
    w.on("k", [](const job_context&) {});
    EXPECT_THROW(w.start(), error);
    sql.exec("ALTER FUNCTION haul.away(text, jsonb) RENAME TO register_worker;"
             "ALTER EXTENSION pg_haul ADD FUNCTION haul.register_worker(text, jsonb)");
    w.start();
    await_end(enqueue("k"));
    w.stop();
    w.join();
}

TEST_F(worker_start, a_second_connection_that_is_refused_leaves_no_row) {
    sql.exec(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'single') THEN"
        " CREATE ROLE single LOGIN CONNECTION LIMIT 1; END IF; END $$; SELECT haul.grant_worker('single')");
    auto single = dsn;
    single.replace(single.find("user=postgres"), 13, "user=single");
    worker_process program{single, yaml, {"--wait-for-database", "0"}};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_TRUE(has(program, "too many connections for role")) << program->errors();
    EXPECT_EQ(rows(), 0);
}

TEST_F(worker_start, listening_behind_a_pooler_in_transaction_mode_is_refused) {
    pooler between{*server};
    worker_process program{between.dsn(database()), yaml, {"--wait", "listen"}};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_TRUE(has(program, "--wait call")) << program->errors();
    EXPECT_EQ(rows(), 0);
}

// Where every statement goes to another backend, as when many share the pool.
TEST_F(worker_start, listening_behind_a_busy_pooler_is_refused_too) {
    pooler between{*server, {{"server_round_robin", "1"}}};
    std::vector<session> others;
    for (int i = 0; i < pooler::pool_size; ++i)
        others.emplace_back(between.dsn(database())).exec("BEGIN");
    for (auto& other : others)
        other.exec("COMMIT");
    worker_process program{between.dsn(database()), yaml, {"--wait", "listen"}};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_TRUE(has(program, "--wait call")) << program->errors();
}

TEST_F(worker_start, listening_behind_a_pooler_in_session_mode_works) {
    pooler between{*server, {{"pool_mode", "session"}}};
    worker_process program{between.dsn(database()), yaml, {"--wait", "listen"}};
    await_end(enqueue("k"));
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait(), 0) << program->errors();
}

TEST_F(worker_start, a_standby_is_named) {
    cluster standby{{true, {}, server}};
    worker_process program{standby.dsn(database()), yaml, {"--wait-for-database", "0"}};
    EXPECT_EQ(program->wait(), 1);
    EXPECT_TRUE(has(program, "target_session_attrs=read-write")) << program->errors();
}

} // namespace
} // namespace haul::test
