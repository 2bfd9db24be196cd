#ifndef HAUL_TEST_SERVER_CLOCK_HPP
#define HAUL_TEST_SERVER_CLOCK_HPP

#include "support/temporary_directory.hpp"

#include <chrono>
#include <map>
#include <string>

namespace haul::test {

/// The clock of a server that is started in its environment (cluster_options), which can be set: what time it
/// is there, not how fast it passes. The test's own clock goes on as ever. Throws std::system_error.
class server_clock {
public:
    server_clock();

    std::map<std::string, std::string> environment() const;

    /// Ahead of the true time by so much; negative: behind. The server sees it at once.
    void set(std::chrono::seconds ahead);

private:
    std::string library() const { return (directory_.path() / "server_clock.so").string(); }

    temporary_directory directory_;
    std::string file_;
};

} // namespace haul::test

#endif
