#ifndef HAUL_ERROR_HPP
#define HAUL_ERROR_HPP

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

namespace haul {

/// The root of every exception that haul throws. what() is the message alone, without "ERROR:".
class error : public std::runtime_error {
public:
    explicit error(const std::string& message, std::string sqlstate = {}, std::string detail = {},
                   std::string hint = {})
        : std::runtime_error{message},
          sqlstate_{std::move(sqlstate)},
          detail_{std::move(detail)},
          hint_{std::move(hint)} {}

    /// Five characters as the server gave them; empty when the error did not come from it.
    const std::string& sqlstate() const noexcept { return sqlstate_; }
    /// Particulars, or empty.
    const std::string& detail() const noexcept { return detail_; }
    /// What to do about it, or empty.
    const std::string& hint() const noexcept { return hint_; }

private:
    std::string sqlstate_;
    std::string detail_;
    std::string hint_;
};

/// The database cannot be reached, or the connection was lost. Whether the last statement took effect is then
/// unknown. sqlstate(): the server's, else 08006, or 08007 when the connection was lost during COMMIT.
class connection_error : public error {
    using error::error;
};

/// A live job already has this unique key (23505).
class duplicate_job : public error {
    using error::error;
};

/// The job, or another value, was refused (classes 22 and 23).
class bad_job : public error {
    using error::error;
};

/// The queue is at its max_depth (HQ002).
class queue_full : public error {
    using error::error;
};

/// The worker does not own the job any more (HQ001).
class not_owned : public error {
    using error::error;
};

/// The worker is not registered, or not any more (HQ003).
class unknown_worker : public error {
    using error::error;
};

/// The role may not do this (42501).
class permission_denied : public error {
    using error::error;
};

/// The schema, a table, a column or a function is missing (3F000, 42P01, 42703, 42883): the extension is not
/// installed in this database, or is of another version.
class not_installed : public error {
    using error::error;
};

/// A serialization failure or a deadlock (class 40): the whole transaction can be tried again.
class transaction_conflict : public error {
    using error::error;
};

/// Throws the kind of haul::error that fits the SQLSTATE. The text may be the server's whole report, with its
/// lines DETAIL and HINT. Untranslated labels only: a server that reports in another language loses none of
/// the text, but hint() is empty then.
[[noreturn]] void throw_error(const std::string& text, const std::string& sqlstate);

/// Throws the haul::error for any exception of libpqxx, and every other exception as it is.
/// connection_lost: the connection was found closed, so whatever the exception says, that is what happened.
[[noreturn]] void throw_translated(std::exception_ptr exception, bool connection_lost = false);

/// Calls `function`; exceptions of libpqxx leave it as haul::error. `connection` is what the function uses:
/// anything with is_open().
template <typename Connection, typename Function>
decltype(auto) translated(const Connection& connection, Function&& function) {
    try {
        return std::forward<Function>(function)();
    } catch (...) {
        throw_translated(std::current_exception(), !connection.is_open());
    }
}

} // namespace haul

#endif
