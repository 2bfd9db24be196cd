#ifndef HAUL_WORKER_THREAD_CONNECTION_HPP
#define HAUL_WORKER_THREAD_CONNECTION_HPP

#include "haul/connection.hpp"

#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <vector>

namespace haul::core {

/// The connection of one thread for what its handlers ask of the database: made when one first does,
/// kept for the next job, replaced when it was lost. Not thread-safe.
class thread_connection {
public:
    thread_connection(std::string dsn, std::string application_name)
        : dsn_{std::move(dsn)}, application_name_{std::move(application_name)} {}

    /// The transaction of the current job, begun at the first call; nothing is left in the session of jobs
    /// before. Throws connection_error.
    pqxx::transaction_base& transaction();
    /// What it runs on.
    pqxx::connection& raw() const noexcept { return **connection_; }

    /// The only value of the only row of a query: in the transaction if one has begun, else in none. Throws
    /// haul::error.
    std::string value(const std::string& sql, const std::vector<std::optional<std::string>>& params);

    bool in_transaction() const noexcept { return transaction_ != nullptr; }
    /// A text as a literal of SQL, for finish().
    std::string quoted(const std::string& text) const;
    /// Runs a last statement, without the limits of time that are meant for the handler's own, and commits,
    /// all in one message. Throws haul::error; a connection that was lost meanwhile leaves open whether it
    /// took effect.
    void finish(const std::string& sql);
    /// Ends the current job's transaction, if it has one, without effect.
    void rollback() noexcept;
    /// Whether the connection could not be made, or was lost, since the current job began.
    bool lost() const noexcept { return lost_; }
    void begin_job() noexcept { lost_ = false; }
    /// The next job gets another connection.
    void disconnect() noexcept;

private:
    pqxx::connection& live_connection();
    void connect();

    std::string dsn_;
    std::string application_name_;
    std::optional<connection> connection_;
    bool direct_ = false;                               // no pooler is in between: the session is ours
    bool used_ = false;                                 // by an earlier job
    std::unique_ptr<pqxx::nontransaction> transaction_; // begun and ended by statements of ours
    bool lost_ = false;
};

} // namespace haul::core

#endif
