#ifndef HAUL_ENQUEUE_BUFFER_HPP
#define HAUL_ENQUEUE_BUFFER_HPP

#include "haul/client.hpp"

#include <functional>
#include <string>
#include <vector>

namespace haul {

/// A scope that collects jobs and enqueues them as one: all that was collected, or nothing. What was not
/// flushed when the scope ends, by an exception for example, is dropped. Not thread-safe. Must not outlive
/// the client or the transaction that it was made for.
class enqueue_buffer {
public:
    /// flush() is a transaction of its own.
    explicit enqueue_buffer(client& client)
        : send_{[&client](std::vector<new_job> jobs) { client.enqueue_many(std::move(jobs)); }} {}

    /// flush() is part of the caller's transaction.
    explicit enqueue_buffer(pqxx::transaction_base& tx)
        : send_{[&tx](std::vector<new_job> jobs) { haul::enqueue_many(tx, jobs); }} {}

    enqueue_buffer(const enqueue_buffer&) = delete;
    enqueue_buffer& operator=(const enqueue_buffer&) = delete;

    /// Collects a job; nothing is sent yet. Throws bad_job for a job that COPY cannot enqueue.
    void enqueue(std::string kind, job_args args = {}, job_options options = {});

    /// Enqueues what was collected, by one COPY, and empties the buffer, also when that fails. Throws
    /// haul::error.
    void flush();

    /// Forgets what was collected.
    void clear() noexcept { jobs_.clear(); }

    std::size_t size() const noexcept { return jobs_.size(); }

private:
    std::function<void(std::vector<new_job>)> send_;
    std::vector<new_job> jobs_;
};

} // namespace haul

#endif
