#include "support/pooler.hpp"

#include "support/session.hpp"
#include "support/wait.hpp"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace haul::test {

pooler::pooler(const cluster& server) {
    // Like the server, it refuses root: both run as the user who owns the cluster.
    std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
    const std::string directory = directory_.path().string();
    std::string target = server.dsn();
    target.erase(target.find(" dbname="));
    config_ = directory_.write("pgbouncer.ini", "[databases]\n"
                                                "* = " +
                                                    target +
                                                    "\n"
                                                    "[pgbouncer]\n"
                                                    "pool_mode = transaction\n"
                                                    "default_pool_size = " +
                                                    std::to_string(pool_size) +
                                                    "\n"
                                                    "unix_socket_dir = " +
                                                    directory +
                                                    "\n"
                                                    "listen_addr =\n"
                                                    "listen_port = 6432\n"
                                                    "auth_type = any\n"
                                                    // a server that was away is tried again at once
                                                    "server_login_retry = 0.1\n");
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
