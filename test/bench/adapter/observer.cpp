#include "observer.hpp"

#include "haul/connection.hpp"
#include "haul/error.hpp"
#include "producer.hpp"

#include <fmt/format.h>
#include <optional>
#include <string>

namespace haul::bench {

namespace {

// No job below the floor of its lane is ready: counting from there passes over none that are finished, of
// which there are millions when a transaction keeps vacuum from its work. All jobs have the default priority.
std::string counting(int queues) {
    return fmt::format(R"sql(
SELECT (SELECT sum(ready) FROM generate_series(0, {} - 1) AS number
            LEFT JOIN haul.lanes AS l ON l.queue = '{}' || number,
            LATERAL (SELECT count(*) AS ready FROM haul.jobs AS j
                WHERE j.queue = '{}' || number AND j.priority = 16383 AND j.state = 'ready' AND j.run_at <= now()
                    AND (j.run_at, j.id) >= (coalesce(l.floor_run_at, '-infinity'), coalesce(l.floor_id, 0))) AS lane),
       (SELECT coalesce(sum(dispatches + retries - completions - failures - expiries - discards - cancels
                            - releases), 0)
            FROM haul.counters))sql",
                       queues, queue_prefix, queue_prefix);
}

haul::connection connect(const settings& settings) {
    haul::connection connection{settings.database_url, "haul bench observer"};
    translated(connection, [&] {
        pqxx::nontransaction{*connection}.exec(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off");
    });
    return connection;
}

void count_jobs(pqxx::connection& connection, const std::string& counts, meters& meters) {
    const auto counted = pqxx::nontransaction{connection}.exec(counts);
    meters.ready = counted[0][0].as<long>();
    meters.running = counted[0][1].as<long>();
}

} // namespace

void observe(const settings& settings, meters& meters, const stop_event& stop) {
    // A producer that keeps a depth depends on fresh counts.
    const std::chrono::milliseconds period{settings.paced_by == pacing::depth ? 200 : 1000};
    const std::string counts = counting(settings.queues);
    std::optional<haul::connection> connection;
    do {
        try {
            if (!connection)
                connection.emplace(connect(settings));
            translated(*connection, [&] { count_jobs(connection->raw(), counts, meters); });
        } catch (const connection_error&) {
            connection.reset();
        }
    } while (!stop.wait_for(period));
}

} // namespace haul::bench
