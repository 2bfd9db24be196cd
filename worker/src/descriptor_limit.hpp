#ifndef HAUL_WORKER_DESCRIPTOR_LIMIT_HPP
#define HAUL_WORKER_DESCRIPTOR_LIMIT_HPP

#include <sys/resource.h>

namespace haul::core {

/// How many descriptors the process may have. Thread-safe, except for raising.

/// Raises the soft limit to the hard one, or to what the most threads could use. To be called while there is
/// one thread.
void raise_descriptor_limit() noexcept;

/// The limits that programs should start with: those of before raise_descriptor_limit(). A program that uses
/// select() breaks with more than 1024.
rlimit program_descriptor_limit() noexcept;

/// Whether the descriptor is one of the last few below the limit. Jobs must not have these: the worker needs
/// them when it connects again. Since the system gives out the lowest number that is free, such a number says
/// that all others are taken.
bool is_reserved(int descriptor) noexcept;

} // namespace haul::core

#endif
