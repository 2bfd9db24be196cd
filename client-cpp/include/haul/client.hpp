#ifndef HAUL_CLIENT_HPP
#define HAUL_CLIENT_HPP

#include "haul/connection.hpp"
#include "haul/enqueue.hpp"
#include "haul/error.hpp"
#include "haul/workflow.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace haul {

struct client_options {
    std::string name_space; ///< put before the queue of every job, see in_namespace(); empty: none
    std::string application_name = "haul"; ///< what pg_stat_activity shows, unless the DSN says otherwise
};

/// An enqueuer with a connection of its own; each call is a transaction of its own. To enqueue in a
/// transaction that you have anyway, use haul::enqueue(). Not thread-safe: one client per thread.
///
/// A connection that the server closed while it lay idle is replaced at the next call. Nothing is ever sent
/// twice: after a connection_error it is unknown whether the job was enqueued. Give it a unique key and
/// enqueue it again.
class client {
public:
    /// Connects; see connection_string() for the DSN. Throws connection_error.
    explicit client(std::string dsn = {}, client_options options = {});

    /// See haul::enqueue().
    std::int64_t enqueue(const std::string& kind, const job_args& args = {}, const job_options& options = {});

    /// See haul::enqueue_many(). Takes the jobs by value: move them in where a copy would hurt.
    void enqueue_many(std::vector<new_job> jobs);

    /// See haul::enqueue() in workflow.hpp.
    enqueued_workflow enqueue(workflow flow);

    /// See haul::chain().
    std::vector<std::int64_t> chain(std::vector<new_job> jobs, const std::string& name = {},
                                    if_failed policy = if_failed::cancel);

private:
    pqxx::connection& live_connection();

    std::string dsn_;
    client_options options_;
    std::optional<connection> connection_;
};

} // namespace haul

#endif
