#ifndef HAUL_FAULT_HPP
#define HAUL_FAULT_HPP

#include "haul/error.hpp"

#include <string>

namespace haul::core {

/// Whose fault an error is that a call of our own to the server ended with, and so what to do about it.
enum class fault {
    connection, ///< the connection is gone, or cannot be made for now: connect again, and keep everything
    server,     ///< the server could not do it this time: try again later, with less at a time
    setup,      ///< it never will before somebody changes the set-up: say what to do, and end after a while
    data,       ///< of what was sent: it would be refused each time, and nothing else is affected
};

/// Told by the SQLSTATE, and by whether the connection outlived the error.
fault fault_of(const error& failure);

/// Whether the error shows that statements of one session reach the server through several: a pooler in
/// transaction mode.
bool shows_pooler(const error& failure);

/// What to do about the error: the server's hint, or ours for a fault of the set-up; empty when there is
/// neither.
std::string advice(const error& failure);

} // namespace haul::core

#endif
