#include "support/pooler.hpp"

#include "support/session.hpp"
#include "support/wait.hpp"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace haul::test {

pooler::pooler(const cluster& server, const std::map<std::string, std::string>& settings) {
    // Like the server, it refuses root: both run as the user who owns the cluster.
    std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
    std::string target = server.dsn();
    target.erase(target.find(" dbname="));
    std::map<std::string, std::string> all = settings;
    all.insert({{"pool_mode", "transaction"},
                {"default_pool_size", std::to_string(pool_size)},
                {"unix_socket_dir", directory_.path().string()},
                {"listen_addr", ""},
                {"listen_port", "6432"},
                {"auth_type", "any"},
                {"server_login_retry", "0.1"}}); // a server that was away is tried again at once
    std::string text = "[databases]\n* = " + target + "\n[pgbouncer]\n";
    for (const auto& [name, value] : all)
        text += name + " = " + value + "\n";
    config_ = directory_.write("pgbouncer.ini", text);
    start();
}

std::string pooler::dsn(const std::string& database) const {
    return "host=" + directory_.path().string() + " port=6432 user=postgres dbname=" + database;
}

void pooler::start() {
    std::vector<std::string> command{"/usr/sbin/pgbouncer", config_};
    if (geteuid() == 0) {
        const char* user = std::getenv("CLUSTER_USER");
        command.insert(command.begin() + 1, {"-u", user ? user : "postgres"});
    }
    process_ = std::make_unique<process>(command);
    wait_until(
        [this] {
            if (!process_->running())
                throw std::runtime_error("pgbouncer ended:\n" + process_->errors());
            try {
                session{dsn("postgres")}.exec("SELECT 1");
                return true;
            } catch (const sql_error&) {
                return false;
            }
        },
        "pgbouncer accepts connections");
}

void pooler::stop() {
    process_->kill();
    process_->wait();
    std::filesystem::remove(directory_.path() / ".s.PGSQL.6432");
}

} // namespace haul::test
