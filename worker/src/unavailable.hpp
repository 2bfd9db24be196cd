#ifndef HAUL_WORKER_UNAVAILABLE_HPP
#define HAUL_WORKER_UNAVAILABLE_HPP

#include "haul/error.hpp"

namespace haul::core {

/// What it takes to run a job cannot be had at the moment: descriptors, memory, processes. Not the job's
/// failure: it is given back, uncharged.
class unavailable : public error {
    using error::error;
};

/// Throws unavailable for an error number that speaks of a shortage, or of something that will pass by
/// itself, and std::system_error for any other.
[[noreturn]] void throw_system_error(int number, const std::string& what);

} // namespace haul::core

#endif
