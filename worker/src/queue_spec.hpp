#ifndef HAUL_QUEUE_SPEC_HPP
#define HAUL_QUEUE_SPEC_HPP

#include "haul/options.hpp"

#include <string>

namespace haul::program {

/// Adds to a worker's subscription what a user wrote: "a,b" takes queues in this order, "-a,b" excludes them,
/// "*" takes all, "critical:8,default:1" draws by weight (a queue without one weighs 1). A colon that no
/// number follows is part of the name; blanks around a name are not. Throws haul::error for a name that is
/// not 1 to 63 characters long, a weight that is not between 0.000001 and 1000000, and a queue named twice.
void add_queues(worker_options& options, const std::string& spec);

/// Adds one queue by its name, whatever characters that has. Throws as add_queues() does.
void add_queue(worker_options& options, queue_choice queue);

/// Excludes one queue by its name. Throws as add_queues() does.
void exclude_queue(worker_options& options, const std::string& name);

} // namespace haul::program

#endif
