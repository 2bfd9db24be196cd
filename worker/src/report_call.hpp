#ifndef HAUL_WORKER_REPORT_CALL_HPP
#define HAUL_WORKER_REPORT_CALL_HPP

#include "batch.hpp"
#include "ending.hpp"
#include "event.hpp"
#include "session.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace haul::core {

struct report {
    job* what;
    ending how;
    std::optional<steady_time> refused_since{}; ///< the server has refused it on its own since then
};

/// Some reports that one call can carry: the same way to end, the same registration of the worker.
struct report_range {
    const report* first;
    const report* last;

    const report* begin() const noexcept { return first; }
    const report* end() const noexcept { return last; }
};

/// Whether one call can carry both.
bool belong_together(const report& one, const report& other) noexcept;
/// An order in which those that belong together are neighbours.
bool report_order(const report& one, const report& other) noexcept;

/// The name of the server's function for this way to end.
const char* call_name(const report& what) noexcept;

/// Tells the server, in one statement, which is one transaction. Returns the ids that were not owned any
/// more. Throws what session::query() throws.
std::vector<std::int64_t> send(session& db, report_range reports);

} // namespace haul::core

#endif
