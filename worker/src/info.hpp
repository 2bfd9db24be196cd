#ifndef HAUL_INFO_HPP
#define HAUL_INFO_HPP

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace haul::program {

/// What haul.worker_status says about a worker.
struct worker_info {
    std::string name;
    std::string hostname;
    std::string pid;
    int busy = 0;
    int max_threads = 0;
    std::chrono::milliseconds heartbeat_age{0};
    std::string status;
};

/// What haul.queue_status says about a queue.
struct queue_info {
    std::string name;
    long long ready = 0;
    long long scheduled = 0;
    long long running = 0;
    long long waiting = 0;
    bool capped = false; ///< the counts are those of the first 10 001 jobs
    std::optional<std::chrono::milliseconds> oldest_due_age;
    std::optional<std::chrono::milliseconds> next_due_in;
};

/// What haul.counters says about a queue today (UTC).
struct counter_info {
    std::string queue;
    std::vector<long long> counts; ///< in the order of counter_names()
};

/// What an operator wants to see first.
struct database_info {
    std::vector<worker_info> workers;
    std::vector<queue_info> queues;
    std::vector<counter_info> counters;
};

/// Columns of haul.counters that count.
const std::vector<std::string>& counter_names();

/// Asks the database; needs no more than haul.grant_worker() gives. Throws haul::error.
database_info read_info(const std::string& dsn);

/// Hosts, workers, queues, late jobs and today's counters as aligned text. In colours, what is late stands
/// out: a heartbeat older than 30 s, and jobs due for more than 60 s.
std::string info_text(const database_info& info, bool colours);

/// "0.3 s", "12 s", "5 min", "3 h", "2 d": two units would not tell more.
std::string age_text(std::chrono::milliseconds age);

/// haul info: prints to standard output, in colours when that is a terminal and NO_COLOR is not set. Returns
/// the exit status. Throws haul::error.
int print_info(const std::string& dsn);

} // namespace haul::program

#endif
