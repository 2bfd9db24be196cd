#ifndef HAUL_WORKER_REPORT_SINK_HPP
#define HAUL_WORKER_REPORT_SINK_HPP

#include "batch.hpp"
#include "ending.hpp"
#include "haul/error.hpp"

#include <chrono>
#include <string>

namespace haul::core {

/// Takes what threads have to say about their jobs. Thread-safe.
class report_sink {
public:
    /// Nobody may touch the job afterwards.
    virtual void report(job& what, ending how) = 0;
    /// Stores the progress of a job, soon. Of several values for a job the last counts.
    virtual void progress(const job& what, std::string json) = 0;
    /// Says that a job begins, and waits for the answer: whether the job is still ours.
    virtual bool confirm_start(job& what) = 0;
    /// The server refused a call of the queue's own in a handler's transaction, which is not the job's fault.
    /// Returns how long the job should rest.
    virtual std::chrono::milliseconds refused(const job& what, const error& failure) = 0;

protected:
    ~report_sink() = default;
};

} // namespace haul::core

#endif
