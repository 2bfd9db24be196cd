#include "observer.hpp"

#include "haul/connection.hpp"
#include "haul/error.hpp"

#include <optional>

namespace haul::bench {

namespace {

// The view counts so many jobs of a queue, and says when there are more.
constexpr const char* cheap_counts = R"sql(
SELECT coalesce(sum(ready), 0), coalesce(sum(running), 0), coalesce(bool_or(capped), false)
    FROM haul.queue_status)sql";
constexpr const char* full_counts = R"sql(
SELECT count(*) FILTER (WHERE state = 'ready' AND run_at <= now()), count(*) FILTER (WHERE state = 'running')
    FROM haul.jobs)sql";

void count_jobs(pqxx::connection& connection, meters& meters) {
    pqxx::nontransaction tx{connection};
    pqxx::result counts = tx.exec(cheap_counts);
    if (counts[0][2].as<bool>())
        counts = tx.exec(full_counts);
    meters.ready = counts[0][0].as<long>();
    meters.running = counts[0][1].as<long>();
}

} // namespace

void observe(const settings& settings, meters& meters, const stop_event& stop) {
    // A producer that keeps a depth depends on fresh counts.
    const std::chrono::milliseconds period{settings.paced_by == pacing::depth ? 100 : 1000};
    std::optional<haul::connection> connection;
    do {
        try {
            if (!connection)
                connection.emplace(settings.database_url, "haul bench observer");
            translated(*connection, [&] { count_jobs(connection->raw(), meters); });
        } catch (const connection_error&) {
            connection.reset();
        }
    } while (!stop.wait_for(period));
}

} // namespace haul::bench
