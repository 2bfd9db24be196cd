#include "support/cluster.hpp"

#include "support/failure.hpp"
#include "support/process.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <gtest/gtest.h>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

namespace haul::test {

namespace {

// Destroys the server when the test is killed, which runs no destructor. It is no child of the test: ctest
// kills those, too.
void start_guard(const std::string& directory) {
    run({"setsid", "--fork", "bash", "-c",
         "while kill -0 $1 && [ -e $0 ]; do sleep 1; done 2>/dev/null; " HAUL_SOURCE_DIR
         "/scripts/cluster destroy $0/server; rm -rf $0",
         directory, std::to_string(getpid())});
}

} // namespace

cluster::cluster(const cluster_options& options) : environment_(options.environment) {
    start_guard(directory_.path().string());
    std::vector<std::string> arguments{"start"};
    if (options.primary != nullptr)
        arguments.insert(arguments.end(), {"-s", options.primary->server_directory()});
    std::map<std::string, std::string> settings = options.settings;
    settings.insert({{"fsync", "off"}, {"shared_buffers", "64MB"}, {"max_wal_size", "4GB"}});
    if (options.preload)
        settings.insert({"shared_preload_libraries", "pg_haul"});
    for (const auto& [name, value] : settings)
        arguments.insert(arguments.end(), {"-o", name + "=" + value});
    try {
        script(arguments);
    } catch (...) {
        script({"destroy"});
        throw;
    }
}

cluster::~cluster() {
    try {
        if (const std::string lines = script({"crashes"}); !lines.empty())
            ADD_FAILURE() << "the server crashed:\n" << lines;
        show_if_failed("the server log", log());
        script({"destroy"});
    } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
    }
}

std::string cluster::script(const std::vector<std::string>& arguments) const {
    std::vector<std::string> command{HAUL_SOURCE_DIR "/scripts/cluster", arguments.at(0), server_directory()};
    command.insert(command.end(), arguments.begin() + 1, arguments.end());
    return run(command, environment_);
}

std::string cluster::dsn(const std::string& database) const {
    return "host=" + server_directory() + " port=5432 user=postgres dbname=" + database;
}

std::string cluster::create_database(const std::string& name) {
    session(dsn()).exec("CREATE DATABASE \"" + name + "\"");
    session(dsn(name)).exec("CREATE EXTENSION pg_haul");
    return dsn(name);
}

void cluster::start() {
    script({"start"});
}

void cluster::stop(const std::string& mode) {
    script({"stop", "-m", mode});
}

void cluster::restart(const std::string& mode) {
    script({"restart", "-m", mode});
}

void cluster::kill() {
    const auto postmaster =
        session(dsn()).number("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::integer");
    if (::kill(static_cast<pid_t>(postmaster), SIGKILL) != 0)
        throw std::system_error(errno, std::generic_category(), "kill");
}

void cluster::set(const std::string& parameter, const std::string& value) {
    session admin(dsn());
    admin.exec("ALTER SYSTEM SET " + parameter + " = " + admin.text("SELECT quote_literal($1)", {value}));
    admin.exec("SELECT pg_reload_conf()");
}

std::string cluster::log() const {
    std::ifstream stream(server_directory() + "/log", std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

std::string cluster::program_directory() {
    const char* chosen = std::getenv("PG_CONFIG");
    const char* major = std::getenv("PG_MAJOR");
    const std::string program = chosen ? chosen
                                : major && *major
                                    ? "/usr/lib/postgresql/" + std::string(major) + "/bin/pg_config"
                                    : "pg_config";
    std::string directory = run({program, "--bindir"});
    directory.pop_back(); // newline
    return directory;
}

} // namespace haul::test
