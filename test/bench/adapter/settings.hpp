#ifndef HAUL_BENCH_SETTINGS_HPP
#define HAUL_BENCH_SETTINGS_HPP

#include <chrono>
#include <string>

namespace haul::bench {

/// Who decides when jobs are enqueued.
enum class pacing {
    tokens, ///< the harness, by lines "ENQUEUE n" on standard input
    rate,   ///< a clock of our own
    depth,  ///< so many jobs wait at any time
};

/// What the harness says by environment variables; the defaults are those of its guide.
struct settings {
    std::string database_url;
    int instance; ///< number of this replica; only 0 tells about the queue as a whole
    pacing paced_by;
    double rate;                            ///< jobs/s offered
    std::string rate_file;                  ///< holds the rate of the moment; empty: it does not change
    long target_depth;                      ///< jobs that wait, with pacing::depth
    long batch_max;                         ///< jobs enqueued by one call, at most
    std::chrono::milliseconds batch_period; ///< between two calls
    int queues;                             ///< over which jobs are spread
    int workers;                            ///< jobs that run at a time
    long payload_bytes;
    std::chrono::milliseconds work; ///< that a job takes
    std::chrono::seconds sample_every;
    std::chrono::seconds latency_window; ///< that percentiles are taken of
    std::string executions_file; ///< gets the id of every job that begins to run; empty: none. Ours, not the
                                 ///< harness's
};

/// Throws std::runtime_error that names the variable which is missing or wrong.
settings read_settings();

} // namespace haul::bench

#endif
