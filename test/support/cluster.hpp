#ifndef HAUL_TEST_CLUSTER_HPP
#define HAUL_TEST_CLUSTER_HPP

#include "support/session.hpp"
#include "support/temporary_directory.hpp"

#include <map>
#include <string>
#include <vector>

namespace haul::test {

class cluster;

struct cluster_options {
    bool preload = true;                         ///< pg_haul in shared_preload_libraries
    std::map<std::string, std::string> settings; ///< configuration parameters
    const cluster* primary = nullptr;            ///< makes a hot standby of this one, which must run
    std::map<std::string, std::string> environment =
        {}; ///< added to that of scripts/cluster, and of the server
};

/// A throw-away PostgreSQL server, running from the constructor on and destroyed with its files at the end of
/// the object, or when the test is killed. A crash that the test did not cause by SIGKILL or an immediate
/// stop fails it. When the current test has failed by then, the end of the server's log goes to standard
/// error. Nothing is flushed to disk (fsync is off): the server may be killed at any time, the machine may
/// not. Not thread-safe; every call throws std::runtime_error when it fails.
class cluster {
public:
    explicit cluster(const cluster_options& options = {});
    ~cluster();
    cluster(const cluster&) = delete;
    cluster& operator=(const cluster&) = delete;

    /// Connection string of the superuser "postgres" for a database.
    std::string dsn(const std::string& database = "postgres") const;

    /// Makes a database with the extension in it and returns its dsn.
    std::string create_database(const std::string& name = "haul_test");

    void start();
    /// Modes: "smart", "fast", or "immediate", which is a crash.
    void stop(const std::string& mode = "fast");
    void restart(const std::string& mode = "fast");
    /// Kills the postmaster, and with it the server, as a failure of the machine would.
    void kill();

    /// Sets a configuration parameter of the running server, which must not need a restart.
    void set(const std::string& parameter, const std::string& value);

    /// The server's log so far.
    std::string log() const;

    /// Directory of PostgreSQL's programs (psql, pg_dump, …).
    static std::string program_directory();

private:
    std::string script(const std::vector<std::string>& arguments) const;
    std::string server_directory() const { return (directory_.path() / "server").string(); }

    std::map<std::string, std::string> environment_;
    temporary_directory directory_;
};

} // namespace haul::test

#endif
