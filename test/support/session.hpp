#ifndef HAUL_TEST_SESSION_HPP
#define HAUL_TEST_SESSION_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

struct pg_conn;

namespace haul::test {

/// A value as the server prints it; NULL is nullopt.
using value = std::optional<std::string>;
using row = std::vector<value>;
using rows = std::vector<row>;

/// A statement failed, or the connection broke (sqlstate is empty then).
class sql_error : public std::runtime_error {
public:
    sql_error(const std::string& message, std::string sqlstate, std::string hint)
        : std::runtime_error(message), sqlstate_(std::move(sqlstate)), hint_(std::move(hint)) {}
    const std::string& sqlstate() const { return sqlstate_; }
    const std::string& hint() const { return hint_; }

private:
    std::string sqlstate_;
    std::string hint_;
};

struct notification {
    std::string channel;
    std::string payload;
};

/// One connection on bare libpq, so that a test sees exactly what the server does. Statements are
/// autocommitted unless BEGIN is sent. Not thread-safe; every call may throw sql_error.
class session {
public:
    explicit session(const std::string& dsn);

    /// Runs a statement (several, when there are no parameters) and returns the rows of the last.
    rows exec(const std::string& sql, const std::vector<value>& parameters = {});

    /// The only value of the only row; throws std::logic_error when there is not exactly one row.
    value get(const std::string& sql, const std::vector<value>& parameters = {});
    std::string text(const std::string& sql, const std::vector<value>& parameters = {});
    std::int64_t number(const std::string& sql, const std::vector<value>& parameters = {});
    bool truth(const std::string& sql, const std::vector<value>& parameters = {});

    /// COPY … FROM STDIN: sends `data` and returns how many rows were copied.
    std::int64_t copy(const std::string& sql, const std::string& data);

    /// Starts a statement without waiting for it; finish() waits and returns its rows, busy() tells whether
    /// it would wait.
    void send(const std::string& sql);
    bool busy();
    rows finish();

    /// Notifications that have arrived.
    std::vector<notification> notifications();

    int backend_pid() const;

    /// The libpq connection, for what this class does not offer. It stays owned by the session.
    pg_conn* handle() const { return connection_.get(); }

private:
    struct closer {
        void operator()(pg_conn* connection) const;
    };
    std::unique_ptr<pg_conn, closer> connection_;
};

} // namespace haul::test

#endif
