#ifndef HAUL_JOB_JSON_HPP
#define HAUL_JOB_JSON_HPP

#include "haul/job.hpp"

#include <string>

namespace haul {

/// The members of a JSON object, without its braces, that describe a job to haul.workflow(); `wait` is an
/// interval. Throws bad_job for what cannot be described so.
std::string job_json(const new_job& job);

/// A JSON string. Throws bad_job for what is not UTF-8.
std::string json_string(const std::string& text);

} // namespace haul

#endif
