#ifndef HAUL_TEST_SERVED_HPP
#define HAUL_TEST_SERVED_HPP

#include "support/session.hpp"
#include "support/wait.hpp"

namespace haul::test {

/// Waits until a background worker serves the session's database. Returns at once when the server does not
/// preload pg_haul.
inline void wait_until_served(session& database) {
    wait_until([&] { return database.truth("SELECT floors_open = preloaded FROM haul.background"); },
               "a background worker serves the database");
}

/// Takes all databases of the cluster from their background workers: what works then works everywhere.
inline void stop_serving(session& database) {
    wait_until_served(database); // lest the launcher should still be about to open it
    database.exec("ALTER SYSTEM SET haul.databases = 'nowhere'");
    database.exec("SELECT pg_reload_conf()");
    wait_until([&] { return !database.truth("SELECT floors_open FROM haul.background"); },
               "no background worker serves the database");
}

inline void resume_serving(session& database) {
    database.exec("ALTER SYSTEM RESET haul.databases");
    database.exec("SELECT pg_reload_conf()");
    wait_until_served(database);
}

} // namespace haul::test

#endif
