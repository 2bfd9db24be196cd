#ifndef HAUL_UNIQUE_KEY_HPP
#define HAUL_UNIQUE_KEY_HPP

#include "haul/job.hpp"

#include <string>

namespace haul {

/// A unique key for "the same kind with the same arguments": the kind, a colon, and the SHA-256 of the
/// arguments with the keys of all objects in order and no white space between. The same in every version.
/// Numbers count as they are written: 1 and 1.0 differ. Throws bad_job for arguments that are no JSON text.
std::string unique_key(const std::string& kind, const job_args& args);

} // namespace haul

#endif
