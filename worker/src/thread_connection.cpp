#include "thread_connection.hpp"

#include "descriptor_limit.hpp"
#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"

namespace haul::core {

namespace {

// DISCARD ALL without DISCARD PLANS, which would cost each job the planning of all its functions. In a
// transaction of its own, which comes before that of the job.
constexpr const char* clean_up =
    "BEGIN; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *;"
    " SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; COMMIT; ";

} // namespace

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
    used_ = false;
    direct_ = translated(made, [&] {
        pqxx::nontransaction alone{*made};
        const auto rows = compat::exec(alone, "SELECT pg_catalog.pg_backend_pid()");
        return rows[0][0].as<int>() == made->backendpid(); // a pooler tells one of its own when we connect
    });
    connection_.emplace(std::move(made));
}

pqxx::transaction_base& thread_connection::transaction() {
    if (transaction_)
        return *transaction_;
    auto& connection = live_connection();
    try {
        translated(*connection_, [&] {
            transaction_ = std::make_unique<pqxx::nontransaction>(connection);
            compat::exec(*transaction_, used_ ? clean_up + std::string{"BEGIN"} : "BEGIN");
        });
    } catch (...) {
        transaction_.reset();
        throw;
    }
    used_ = direct_;
    lost_ = false;
    return *transaction_;
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

std::string thread_connection::quoted(const std::string& text) const {
    return transaction_->quote(text);
}

void thread_connection::finish(const std::string& sql) {
    translated(*connection_, [&] {
        compat::exec(*transaction_,
                     "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; " + sql + "; COMMIT");
    });
    transaction_.reset();
}

void thread_connection::rollback() noexcept {
    if (!transaction_)
        return;
    try {
        compat::exec(*transaction_, "ROLLBACK");
    } catch (const std::exception&) { // the server rolls back when the connection is gone
    }
    transaction_.reset();
    if (!connection_->is_alive()) {
        connection_.reset();
        lost_ = true;
    }
}

void thread_connection::disconnect() noexcept {
    rollback();
    connection_.reset();
}

} // namespace haul::core
