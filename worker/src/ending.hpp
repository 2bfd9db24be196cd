#ifndef HAUL_WORKER_ENDING_HPP
#define HAUL_WORKER_ENDING_HPP

#include "haul/outcome.hpp"

#include <variant>

namespace haul::core {

/// The execution was stopped from outside before its end.
struct interrupted {};

/// The execution has been settled with the server already, or is not ours any more: nothing to report.
struct settled {};

/// How an execution ended, as the worker sees it.
using ending = std::variant<completed, retry, fail_for_good, discard, cancel, snooze, interrupted, settled>;

} // namespace haul::core

#endif
