#ifndef HAUL_SESSION_HPP
#define HAUL_SESSION_HPP

#include "binary.hpp"
#include "event.hpp"
#include "haul/error.hpp"

#include <deque>
#include <libpq-fe.h>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace haul::core {

/// A wait was given up because the worker ends by force.
class interrupted_error : public error {
    using error::error;
};

/// Rows of a query, in binary format. Immutable, so any thread may read it.
class result {
public:
    explicit result(PGresult* raw) : raw_{raw} {}

    int rows() const noexcept { return PQntuples(raw_.get()); }
    bool is_null(int row, int column) const noexcept { return PQgetisnull(raw_.get(), row, column) != 0; }
    std::string_view operator()(int row, int column) const noexcept {
        return {PQgetvalue(raw_.get(), row, column),
                static_cast<std::size_t>(PQgetlength(raw_.get(), row, column))};
    }
    bool boolean(int row, int column) const noexcept {
        return !is_null(row, column) && (*this)(row, column)[0] != '\0';
    }
    const PGresult* raw() const noexcept { return raw_.get(); }

private:
    struct closer {
        void operator()(PGresult* result) const noexcept { PQclear(result); }
    };
    std::unique_ptr<PGresult, closer> raw_;
};

/// A statement with a name: prepared once in each session that uses it.
struct statement {
    const char* name;
    const char* sql;
};

/// Values for $1, $2, …, in binary format.
class parameters {
public:
    parameters& add_null(oid type);
    parameters& add_boolean(bool value);
    parameters& add_int32(std::int32_t value);
    parameters& add_int64(std::int64_t value);
    parameters& add_text(std::string_view value);
    parameters& add_jsonb(std::string_view value);
    parameters& add_interval(std::chrono::microseconds value);
    /// The array must stay unchanged until the query is done.
    parameters& add_array(oid type, array_builder& value);

private:
    friend class session;
    parameters& own(oid type, std::string value);

    std::deque<std::string> owned_; // a deque does not move its elements
    std::vector<oid> types_;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

/// A connection of libpq: every wait is a poll() on its socket and on an event, so it can always be given up,
/// and rows arrive without a copy. It never reconnects. Not thread-safe.
class session {
public:
    /// `interrupt` must outlive the session; once it is set every wait for a server that is silent ends with
    /// interrupted_error. Without
    /// `prepare`, statements are sent whole each time, as a pooler in transaction mode needs it.
    /// Throws connection_error.
    session(const std::string& dsn, const std::string& application_name, const event& interrupt,
            bool prepare = true);

    /// Runs a statement and waits for its rows. Throws connection_error when the connection is lost (whether
    /// the statement took effect is unknown then), and other haul::errors as the server says.
    result query(const statement& what, const parameters& values = {});

    /// Starts a statement, unprepared, and does not wait for it. Nothing else can be run until answer() has
    /// returned its rows, or thrown, which it does when something has arrived on the socket.
    void send(const statement& what, const parameters& values);
    /// Its rows, once it is done. Never blocks; throws what query() throws.
    std::optional<result> answer();

    /// Runs SQL without parameters, whose rows do not matter.
    void execute(const std::string& sql);

    /// For PQcancel(), on any thread.
    struct cancel_closer {
        void operator()(PGcancel* handle) const noexcept { PQfreeCancel(handle); }
    };
    std::unique_ptr<PGcancel, cancel_closer> cancel_handle() const;

    int socket() const noexcept { return PQsocket(connection_.get()); }

    /// Reads what has arrived, without blocking. Throws connection_error when the connection is dead.
    void read();
    /// The payloads of notifications that have been read, by read() or by a statement, and not yet returned.
    std::vector<std::string> notifications();

    /// Whether the server converts text to UTF-8. One that has no encoding (SQL_ASCII) hands out bytes as
    /// they are.
    bool is_converted() const noexcept;

    /// Whether the session is ours alone, and lasts as long as the connection: no pooler stands in between.
    bool is_direct() const noexcept { return direct_; }

    /// Process id of the backend that runs this very question.
    std::int32_t current_backend();

    /// From now on, another event ends the waits. It must outlive the session.
    void interrupt_by(const event& other) noexcept { interrupt_ = &other; }

    /// Whether the server is a hot standby, as it says itself.
    bool is_standby() const noexcept;

    /// Process id of the backend.
    int backend_pid() const noexcept { return PQbackendPID(connection_.get()); }

private:
    void connect(const std::string& dsn);
    [[noreturn]] void fail_to_connect();
    std::string_view parameter(const char* name) const noexcept;
    void choose_encoding();
    void lift_limits();
    void prepare(const statement& what, const parameters& values);
    int send_whole(const statement& what, const parameters& values);
    bool collect();
    result collected();
    result finish(int sent);
    void wait(short wanted, std::optional<steady_time> until = {});
    [[noreturn]] void fail(const PGresult* raw);

    struct closer {
        void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
    };
    const event* interrupt_;
    bool prepare_;
    bool direct_ = false;
    std::unique_ptr<PGconn, closer> connection_;
    std::set<std::string_view> prepared_;
    // Of the statement that runs: what has come so far.
    result rows_{nullptr};
    result refusal_{nullptr};
};

/// Whether the sessions get at the server through each other's backends, or one of them through several: then
/// a pooler in transaction mode stands in between, and neither is a session of its own.
bool share_backends(session& one, session& other);

} // namespace haul::core

#endif
