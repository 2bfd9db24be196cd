#include "thread_connection.hpp"

#include "descriptor_limit.hpp"
#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"

namespace haul::core {

// One that was kept from an earlier job may have died meanwhile. Until the caller has used it, it counts as
// lost.
pqxx::connection& thread_connection::live_connection() {
    if (connection_ && !connection_->is_alive())
        connection_.reset();
    lost_ = true;
    if (!connection_)
        connect();
    return **connection_;
}

void thread_connection::connect() {
    connection made{dsn_, application_name_};
    if (is_reserved(made->sock()))
        throw connection_error{"the last descriptors are kept for the worker's own connections", "08001"};
    connection_.emplace(std::move(made));
}

pqxx::transaction_base& thread_connection::transaction() {
    if (transaction_)
        return *transaction_;
    auto& connection = live_connection();
    transaction_ = translated(*connection_, [&] { return std::make_unique<pqxx::work>(connection); });
    lost_ = false;
    return *transaction_;
}

void thread_connection::execute(const std::string& sql,
                                const std::vector<std::optional<std::string>>& params) {
    auto& within = transaction();
    translated(*connection_, [&] { compat::exec_list(within, sql, params); });
}

std::string thread_connection::value(const std::string& sql,
                                     const std::vector<std::optional<std::string>>& params) {
    const auto read = [&](pqxx::transaction_base& within) {
        return translated(*connection_,
                          [&] { return compat::exec_list(within, sql, params)[0][0].as<std::string>(); });
    };
    if (transaction_)
        return read(*transaction_);
    auto& connection = live_connection();
    try {
        pqxx::nontransaction alone{connection};
        const auto found = read(alone);
        lost_ = false;
        return found;
    } catch (const error&) {
        lost_ = !connection_->is_alive();
        throw;
    }
}

void thread_connection::commit() {
    try {
        translated(*connection_, [&] { transaction_->commit(); });
    } catch (...) {
        rollback();
        throw;
    }
    transaction_.reset();
}

void thread_connection::rollback() noexcept {
    if (!transaction_)
        return;
    try {
        transaction_->abort();
    } catch (const std::exception&) { // the server rolls back when the connection is gone
    }
    transaction_.reset();
    if (!connection_->is_alive()) {
        connection_.reset();
        lost_ = true;
    }
}

} // namespace haul::core
