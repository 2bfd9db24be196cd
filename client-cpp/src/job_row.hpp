#ifndef HAUL_JOB_ROW_HPP
#define HAUL_JOB_ROW_HPP

#include "haul/job.hpp"
#include "haul/pqxx_compat.hpp"

#include <vector>

namespace haul {

/// A column of haul.jobs that an enqueuer may set.
struct job_column {
    const char* name;
    const char* type;           ///< SQL type
    compat::param default_text; ///< what COPY sends where the job leaves it out: the column's default
    compat::param (*value)(const new_job&); ///< nothing when the job leaves it out
};

/// All of them. `wait` is not a column: see wait_of().
const std::vector<job_column>& job_columns();

/// A timestamptz `after` microseconds past the epoch 1970.
std::string timestamp_text(std::chrono::microseconds since_epoch);

std::string interval_text(interval value);

/// Throws bad_job for what the server cannot see any more: both run_at and wait, NUL characters in text.
void check(const new_job& job);

/// Also what COPY cannot do: return the id of an existing job.
void check_for_copy(const new_job& job);

} // namespace haul

#endif
