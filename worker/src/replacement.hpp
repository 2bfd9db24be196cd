#ifndef HAUL_WORKER_REPLACEMENT_HPP
#define HAUL_WORKER_REPLACEMENT_HPP

#include "ending.hpp"

#include <string>
#include <vector>

namespace haul::core {

/// What to report instead of an ending that the server refuses for what it says, to be tried one after the
/// other: first the same ending with its text in ASCII, then with a note in place of the text, then as a
/// failed attempt (somebody's trigger may refuse the ending itself), at last as one that was interrupted.
std::vector<ending> replacements(const ending& how, const std::string& refusal);

} // namespace haul::core

#endif
