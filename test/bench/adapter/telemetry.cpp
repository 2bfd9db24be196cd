#include "telemetry.hpp"

#include "haul/connection.hpp"
#include "haul/error.hpp"

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

namespace haul::bench {

namespace {

using nlohmann::json;

constexpr const char* system_name = "haul";

// The jobs' own table comes first: the harness lets its readers loose on that one.
constexpr const char* description = R"sql(
SELECT jsonb_build_object(
    'kind', 'descriptor',
    'event_tables', (SELECT jsonb_agg('haul.' || relname ORDER BY relname <> 'jobs', relname) FROM pg_class
        WHERE relnamespace = 'haul'::regnamespace AND relkind = 'r'),
    'event_indexes', (SELECT jsonb_agg('haul.' || relname ORDER BY relname)
        FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = 'haul.jobs'::regclass),
    'extensions', jsonb_build_array('pg_haul'),
    'schema_version', (SELECT extversion FROM pg_extension WHERE extname = 'pg_haul'),
    'preloaded', current_setting('shared_preload_libraries') LIKE '%pg_haul%',
    'db_name', current_database()))sql";

std::string now() {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
    const std::time_t seconds = milliseconds / 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[sizeof "2000-01-01T00:00:00"];
    std::strftime(text, sizeof text, "%FT%T", &parts);
    return fmt::format("{}.{:03}Z", text, milliseconds % 1000);
}

} // namespace

telemetry::telemetry(const settings& settings, const meters& meters)
    : settings_{settings}, meters_{meters}, sampled_at_{std::chrono::steady_clock::now()} {}

void telemetry::describe() {
    haul::connection connection{settings_.database_url, "haul bench"};
    json record = translated(connection, [&] {
        pqxx::nontransaction tx{*connection};
        return json::parse(tx.exec(description)[0][0].as<std::string>());
    });
    record["version"] = HAUL_VERSION;
    record["started_at"] = now();
    write(std::move(record));
}

void telemetry::sample() {
    const auto at = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>{at - sampled_at_}.count();
    const std::uint64_t enqueued = meters_.enqueued, completed = meters_.completed;
    const std::string time = now();

    const auto tell = [&](const std::string& metric, double value, double window) {
        write({{"kind", "adapter"},
               {"t", time},
               {"subject_kind", "adapter"},
               {"subject", ""},
               {"metric", metric},
               {"value", value},
               {"window_s", window}});
    };
    const auto tell_latency = [&](const std::string& name, const percentiles& values) {
        const auto latency_window = static_cast<double>(settings_.latency_window.count());
        tell(name + "_p50_ms", values.p50, latency_window);
        tell(name + "_p95_ms", values.p95, latency_window);
        tell(name + "_p99_ms", values.p99, latency_window);
    };
    tell("enqueue_rate", static_cast<double>(enqueued - enqueued_) / seconds, seconds);
    tell("completion_rate", static_cast<double>(completed - completed_) / seconds, seconds);
    const percentiles claim = meters_.claim.recent();
    tell_latency("claim", claim);
    tell_latency("subscriber", claim);
    tell_latency("end_to_end", meters_.end_to_end.recent());
    tell_latency("producer_call", meters_.call.recent());
    if (settings_.instance == 0) {
        tell("queue_depth", static_cast<double>(meters_.ready), 0);
        tell("running_depth", static_cast<double>(meters_.running), 0);
        tell("total_backlog", static_cast<double>(meters_.ready + meters_.running), 0);
        tell("producer_target_rate", meters_.target_rate, 0);
    }
    sampled_at_ = at;
    enqueued_ = enqueued;
    completed_ = completed;
}

void telemetry::write(json record) const {
    record["system"] = system_name;
    record["instance_id"] = settings_.instance;
    const std::string line = record.dump() + '\n';
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0)
        throw std::system_error(errno, std::generic_category(), "standard output");
}

} // namespace haul::bench
