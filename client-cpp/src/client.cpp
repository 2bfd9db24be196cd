#include "haul/client.hpp"

#include "haul/error.hpp"

#include <utility>

namespace haul {

client::client(std::string dsn, client_options options) : dsn_{std::move(dsn)}, options_{std::move(options)} {
    live_connection();
}

pqxx::connection& client::live_connection() {
    if (!connection_ || !connection_->is_alive()) {
        connection_.reset();
        connection_.emplace(dsn_, options_.application_name);
    }
    return connection_->raw();
}

std::int64_t client::enqueue(const std::string& kind, const job_args& args, const job_options& options) {
    auto& connection = live_connection();
    return translated(connection, [&] {
        pqxx::nontransaction tx{connection}; // one statement is a transaction by itself
        return haul::enqueue(tx, kind, args, in_namespace(options_.name_space, options));
    });
}

void client::enqueue_many(std::vector<new_job> jobs) {
    for (auto& job : jobs)
        job.options = in_namespace(options_.name_space, std::move(job.options));
    auto& connection = live_connection();
    translated(connection, [&] {
        pqxx::work tx{connection};
        haul::enqueue_many(tx, jobs);
        tx.commit();
    });
}

enqueued_workflow client::enqueue(workflow flow) {
    flow.into_namespace(options_.name_space);
    auto& connection = live_connection();
    return translated(connection, [&] {
        pqxx::nontransaction tx{connection};
        return haul::enqueue(tx, flow);
    });
}

std::vector<std::int64_t> client::chain(std::vector<new_job> jobs, const std::string& name,
                                        if_failed policy) {
    for (auto& job : jobs)
        job.options = in_namespace(options_.name_space, std::move(job.options));
    auto& connection = live_connection();
    return translated(connection, [&] {
        pqxx::nontransaction tx{connection};
        return haul::chain(tx, jobs, name, policy);
    });
}

} // namespace haul
