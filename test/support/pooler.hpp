#ifndef HAUL_TEST_POOLER_HPP
#define HAUL_TEST_POOLER_HPP

#include "support/cluster.hpp"
#include "support/process.hpp"
#include "support/temporary_directory.hpp"

#include <map>
#include <memory>
#include <string>

namespace haul::test {

/// A PgBouncer in transaction mode in front of a cluster, running from the constructor to the end of the
/// object. Not thread-safe; every call throws std::runtime_error when it fails.
class pooler {
public:
    /// As many connections to the server for each database.
    static constexpr int pool_size = 4;

    /// `settings` of pgbouncer.ini go before those of the tests.
    explicit pooler(const cluster& server, const std::map<std::string, std::string>& settings = {});

    /// Connection string for a database, through the pooler.
    std::string dsn(const std::string& database) const;

    void start();
    /// Ends it at once, and with it all connections on either side.
    void stop();

private:
    temporary_directory directory_;
    std::string config_;
    std::unique_ptr<process> process_;
};

} // namespace haul::test

#endif
