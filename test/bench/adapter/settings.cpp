#include "settings.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace haul::bench {

namespace {

std::string text(const std::string& name, const std::string& otherwise) {
    const char* value = std::getenv(name.c_str());
    return value != nullptr && *value != '\0' ? value : otherwise;
}

long number(const std::string& name, long otherwise, long least) {
    const std::string value = text(name, std::to_string(otherwise));
    char* end = nullptr;
    const long parsed = std::strtol(value.c_str(), &end, 10);
    if (*end != '\0' || parsed < least)
        throw std::runtime_error(name + " must be a whole number of at least " + std::to_string(least) +
                                 ", not \"" + value + "\"");
    return parsed;
}

pacing paced_by() {
    const std::string mode = text("PRODUCER_MODE", "fixed");
    if (mode == "depth-target")
        return pacing::depth;
    if (mode != "fixed")
        throw std::runtime_error("PRODUCER_MODE must be fixed or depth-target, not \"" + mode + "\"");
    return text("PRODUCER_PACING", "adapter") == "harness" ? pacing::tokens : pacing::rate;
}

} // namespace

settings read_settings() {
    if (const std::string scenario = text("SCENARIO", "long_horizon"); scenario != "long_horizon")
        throw std::runtime_error("SCENARIO must be long_horizon, not \"" + scenario + "\"");
    settings read;
    read.database_url = text("DATABASE_URL", "");
    if (read.database_url.empty())
        throw std::runtime_error("DATABASE_URL is not set");
    read.instance = static_cast<int>(number("BENCH_INSTANCE_ID", 0, 0));
    read.paced_by = paced_by();
    read.rate = static_cast<double>(number("PRODUCER_RATE", 800, 0));
    read.rate_file = text("PRODUCER_RATE_CONTROL_FILE", "");
    read.target_depth = number("TARGET_DEPTH", 1000, 1);
    read.batch_max = number("PRODUCER_BATCH_MAX", 128, 1);
    read.batch_period = std::chrono::milliseconds{number("PRODUCER_BATCH_MS", 25, 1)};
    read.queues = static_cast<int>(number("BENCH_QUEUE_COUNT", 1, 1));
    read.workers = static_cast<int>(number("WORKER_COUNT", 32, 1));
    read.payload_bytes = number("JOB_PAYLOAD_BYTES", 256, 0);
    read.work = std::chrono::milliseconds{number("JOB_WORK_MS", 1, 0)};
    read.sample_every = std::chrono::seconds{number("SAMPLE_EVERY_S", 5, 1)};
    read.latency_window = std::chrono::seconds{std::max(number("LATENCY_WINDOW_MS", 30'000, 1) / 1000, 1L)};
    read.executions_file = text("HAUL_BENCH_EXECUTIONS", "");
    return read;
}

} // namespace haul::bench
