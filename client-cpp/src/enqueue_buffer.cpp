#include "haul/enqueue_buffer.hpp"

#include "job_row.hpp"

#include <utility>

namespace haul {

void enqueue_buffer::enqueue(std::string kind, job_args args, job_options options) {
    new_job job{std::move(kind), std::move(args), std::move(options)};
    check_for_copy(job);
    jobs_.push_back(std::move(job));
}

void enqueue_buffer::flush() {
    send_(std::exchange(jobs_, {}));
}

} // namespace haul
