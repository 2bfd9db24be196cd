#ifndef HAUL_TEST_BACKGROUND_HPP
#define HAUL_TEST_BACKGROUND_HPP

#include "support/cluster.hpp"
#include "support/session.hpp"
#include "support/wait.hpp"

#include <string>
#include <sys/types.h>

namespace haul::test {

/// For what happens when it is called for: the launcher looks around by itself once a minute, and workers are
/// given up for dead after as long.
constexpr std::chrono::milliseconds soon = 10s;

/// The row of haul.background.
struct background {
    bool preloaded;
    pid_t launcher; ///< 0: none
    pid_t worker;   ///< 0: none
    bool served;
    int waiting;
    std::int64_t wakeups; ///< of waiting sessions, so far
};

background background_of(session& database);

/// Waits until a background worker serves the database.
void await_served(session& database, std::chrono::milliseconds limit = patience);
/// Waits until none does.
void await_unserved(session& database);

/// Background workers in a database, by anybody's session.
std::int64_t workers_in(session& anywhere, const std::string& database);

/// A process that does nothing from the constructor to the end of the object.
class frozen {
public:
    /// Returns when it has come to a stop.
    explicit frozen(pid_t process);
    ~frozen();
    frozen(const frozen&) = delete;
    frozen& operator=(const frozen&) = delete;

private:
    pid_t process_;
};

/// What a server logs from the constructor on.
class log_watch {
public:
    explicit log_watch(const cluster& server) : server_(server), from_(server.log().size()) {}

    std::string text() const { return server_.log().substr(from_); }
    /// Lines with this text in them.
    int count(const std::string& part) const;
    /// Lines that an operator would look at: warnings and worse, and processes that ended in failure.
    std::string complaints() const;

private:
    const cluster& server_;
    std::size_t from_;
};

} // namespace haul::test

#endif
