#ifndef HAUL_TEST_WORKLOAD_HPP
#define HAUL_TEST_WORKLOAD_HPP

#include "support/session.hpp"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace haul::test {

/// What the jobs of a workload do.
enum class work {
    effect, ///< an sql handler: writes the job's id into the table "effects", in the transaction that
            ///< completes it
    noop,   ///< nothing: completions go to the server in batches, apart from the work
};

/// Jobs whose loss or doubling shows: the table "expected" gets the id of each job in the transaction that
/// enqueues it. No table has a unique constraint: what is wrong must show, not fail. Questions wait for a
/// server that is down. Not thread-safe.
class workload {
public:
    /// Makes the tables and the handler in a database that has the extension.
    explicit workload(const std::string& dsn, work what = work::effect);

    /// Configuration of a worker for all kinds of work; `more` are lines of YAML for further handlers.
    static std::string yaml(const std::string& more_handlers = "");

    /// Enqueues jobs of the workload's kind, or of another, in one transaction.
    void enqueue(int jobs, int priority = 100, const std::string& kind = "");

    /// How many jobs have completed.
    std::int64_t completed();
    bool drained();

    /// Waits until no job is live and maintenance has run, then returns what the checker finds. Throws
    /// std::runtime_error when jobs are still live after a minute.
    std::vector<std::string> drain_and_check();

private:
    rows asked(const std::string& sql);

    std::string dsn_;
    work what_;
};

/// Enqueues work all the time, from a thread of its own, whatever happens to the server; each tenth
/// transaction is rolled back. Ends with the object or by stop().
class producer {
public:
    explicit producer(const std::string& dsn, work what = work::effect);
    ~producer();
    producer(const producer&) = delete;
    producer& operator=(const producer&) = delete;

    void stop();

private:
    void produce(const std::string& dsn, work what);

    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

} // namespace haul::test

#endif
