#ifndef HAUL_WORKER_REPORT_SINK_HPP
#define HAUL_WORKER_REPORT_SINK_HPP

#include "batch.hpp"
#include "ending.hpp"

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

protected:
    ~report_sink() = default;
};

} // namespace haul::core

#endif
