#include "thread_connection.hpp"

#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"

namespace haul::core {

pqxx::transaction_base& thread_connection::transaction() {
    if (transaction_)
        return *transaction_;
    // One that was kept from an earlier job may have died meanwhile.
    if (connection_ && !connection_->is_alive())
        connection_.reset();
    lost_ = true; // until both steps are done
    if (!connection_)
        connection_.emplace(dsn_, application_name_);
    transaction_ = translated(*connection_, [&] { return std::make_unique<pqxx::work>(**connection_); });
    lost_ = false;
    return *transaction_;
}

void thread_connection::execute(const std::string& sql,
                                const std::vector<std::optional<std::string>>& params) {
    auto& within = transaction();
    translated(*connection_, [&] { compat::exec_list(within, sql, params); });
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
