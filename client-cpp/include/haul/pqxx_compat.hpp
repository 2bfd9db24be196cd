#ifndef HAUL_PQXX_COMPAT_HPP
#define HAUL_PQXX_COMPAT_HPP

#include <functional>
#include <optional>
#include <poll.h>
#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// What differs between libpqxx 6.4, 7.x and 8.x. No other file tests PQXX_VERSION_*.
///
/// Everything here throws what libpqxx throws; see haul/error.hpp for the translation. Nothing here may be
/// used by two threads at a time on one connection.

#define HAUL_PQXX_AT_LEAST(major, minor)                                                                     \
    (PQXX_VERSION_MAJOR > (major) || (PQXX_VERSION_MAJOR == (major) && PQXX_VERSION_MINOR >= (minor)))

#if !HAUL_PQXX_AT_LEAST(7, 0)
#include <pqxx/tablewriter>
#endif

namespace haul::compat {

/// What pqxx::transaction_base::conn() returns a reference to; every pqxx::connection is one.
#if HAUL_PQXX_AT_LEAST(7, 0)
using any_connection = pqxx::connection;
#else
using any_connection = pqxx::connection_base;
#endif

/// A statement parameter or a value for COPY, as text; nothing is NULL. Text must not contain NUL characters.
using param = std::optional<std::string>;

inline param to_param(param value) {
    return value;
}
inline param to_param(std::string value) {
    return value;
}
inline param to_param(std::string_view value) {
    return std::string{value};
}
inline param to_param(const char* value) {
    return value ? param{value} : std::nullopt;
}
inline param to_param(std::nullopt_t) {
    return std::nullopt;
}
inline param to_param(bool value) {
    return value ? "true" : "false";
}

template <typename T>
std::enable_if_t<std::is_arithmetic_v<T>, param> to_param(T value) {
    return pqxx::to_string(value);
}

template <typename T>
param to_param(const std::optional<T>& value) {
    return value ? to_param(*value) : std::nullopt;
}

/// Runs a statement with the parameters $1, $2, ….
inline pqxx::result exec_list(pqxx::transaction_base& tx, const std::string& sql,
                              const std::vector<param>& params) {
#if HAUL_PQXX_AT_LEAST(7, 2)
    pqxx::params list;
    for (const auto& value : params) {
        if (value)
            list.append(*value);
        else
            list.append();
    }
#if HAUL_PQXX_AT_LEAST(7, 10)
    return tx.exec(sql, list);
#else
    return tx.exec_params(sql, list);
#endif
#else
    std::vector<const char*> list;
    list.reserve(params.size());
    for (const auto& value : params)
        list.push_back(value ? value->c_str() : nullptr);
    return tx.exec_params(sql, pqxx::prepare::make_dynamic_params(list));
#endif
}

/// Runs a statement with the parameters $1, $2, …: strings, numbers, booleans, optionals of those,
/// std::nullopt.
template <typename... Args>
pqxx::result exec(pqxx::transaction_base& tx, const std::string& sql, const Args&... args) {
    if constexpr (sizeof...(args) == 0)
        return tx.exec(sql);
    else
        return exec_list(tx, sql, {to_param(args)...});
}

inline bool is_open(const any_connection& connection) noexcept {
    return connection.is_open();
}

/// Asks the server to cancel what runs on the connection, if anything does. Blocks. The one function that may
/// be called on a connection that another thread uses.
inline void cancel(any_connection& connection) {
    connection.cancel_query();
}

/// The file descriptor to poll(). Changes when the connection is replaced.
inline int socket_of(const any_connection& connection) {
    return connection.sock();
}

inline void close(any_connection& connection) {
#if HAUL_PQXX_AT_LEAST(7, 0)
    connection.close();
#else
    connection.disconnect();
#endif
}

/// libpqxx 6.4 reconnects behind our back and loses the session's state: forbid it. Later versions never do.
inline void inhibit_reactivation([[maybe_unused]] any_connection& connection) {
#if !HAUL_PQXX_AT_LEAST(7, 0)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    connection.inhibit_reactivation(true);
#pragma GCC diagnostic pop
#endif
}

/// Reads all that has arrived, without blocking, and calls the handlers of notifications; returns how many
/// came. No transaction may be open on the connection. Throws pqxx::broken_connection when the connection is
/// dead.
inline int get_notifications(any_connection& connection) {
    int count = 0;
    pollfd readable{};
    do { // what the server says when it ends the session, and the end itself, take two reads
        count += connection.get_notifs();
        if (!is_open(connection)) // 6.4 returns 0 for ever
            throw pqxx::broken_connection{"connection to the database is lost"};
        readable = {socket_of(connection), POLLIN, 0};
    } while (poll(&readable, 1, 0) > 0);
    return count;
}

/// LISTEN on a channel for as long as the object lives. The handler runs inside get_notifications() or any
/// other use of the connection and must not throw. Subscribe right after connecting, outside a transaction.
class subscription {
public:
    using handler = std::function<void(const std::string& payload)>;

    subscription(const subscription&) = delete;
    subscription& operator=(const subscription&) = delete;

#if HAUL_PQXX_AT_LEAST(7, 10)
    subscription(pqxx::connection& connection, std::string channel, handler on_notification)
        : connection_{connection}, channel_{std::move(channel)} {
        connection_.listen(channel_, [call = std::move(on_notification)](const pqxx::notification& n) {
            call(std::string{std::string_view{n.payload}});
        });
    }

    ~subscription() {
        try {
            if (connection_.is_open())
                connection_.listen(channel_);
        } catch (const std::exception&) { // the connection died meanwhile, and the subscription with it
        }
    }

private:
    pqxx::connection& connection_;
    std::string channel_;
#else
    subscription(pqxx::connection& connection, const std::string& channel, handler on_notification)
        : receiver_{connection, channel, std::move(on_notification)} {}

private:
    struct receiver : pqxx::notification_receiver {
        receiver(pqxx::connection& connection, const std::string& channel, handler on_notification)
            : pqxx::notification_receiver{connection, channel}, call{std::move(on_notification)} {}
        void operator()(const std::string& payload, int) override { call(payload); }
        handler call;
    };
    receiver receiver_;
#endif
};

#if !HAUL_PQXX_AT_LEAST(7, 0)
/// Appends a value to a line of COPY text. 6.4's own escapes are octal, which the server reads as bytes in
/// its encoding instead of the client's.
inline void append_copy_field(std::string& line, const param& value) {
    if (!value) {
        line += "\\N";
        return;
    }
    for (const char c : *value) {
        switch (c) {
        case '\\':
            line += "\\\\";
            break;
        case '\t':
            line += "\\t";
            break;
        case '\n':
            line += "\\n";
            break;
        case '\r':
            line += "\\r";
            break;
        default:
            line += c;
        }
    }
}
#endif

/// One COPY into a table. All or nothing: an object destroyed before complete() makes the COPY fail, and with
/// it the transaction. Nothing else may use the transaction meanwhile. Names are SQL, not quoted here.
class copy_writer {
public:
#if HAUL_PQXX_AT_LEAST(7, 7)
    copy_writer(pqxx::transaction_base& tx, const std::string& table, const std::vector<std::string>& columns)
        : columns_{columns.size()}, stream_{pqxx::stream_to::raw_table(tx, table, joined(columns))} {}
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    copy_writer(pqxx::transaction_base& tx, const std::string& table, const std::vector<std::string>& columns)
        : columns_{columns.size()}, stream_{tx, table, columns.begin(), columns.end()} {}
#pragma GCC diagnostic pop
#endif

    copy_writer(const copy_writer&) = delete;
    copy_writer& operator=(const copy_writer&) = delete;

    ~copy_writer() {
        if (completed_)
            return;
        try { // libpqxx ends the COPY in any case; a row too long makes the server refuse all of it
            write(std::vector<param>(columns_ + 1));
        } catch (const std::exception&) { // the COPY has failed already
        }
    }

    /// Sends one row, with a value for each column. A bad row shows at the latest in complete().
    void write(const std::vector<param>& row) {
#if HAUL_PQXX_AT_LEAST(7, 0)
        stream_ << row;
#else
        line_.clear();
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (i > 0)
                line_ += '\t';
            append_copy_field(line_, row[i]);
        }
        stream_.write_raw_line(line_);
#endif
    }

    /// Ends the COPY and throws if the server refused it.
    void complete() {
        completed_ = true;
        stream_.complete();
    }

private:
#if HAUL_PQXX_AT_LEAST(7, 7)
    static std::string joined(const std::vector<std::string>& columns) {
        std::string list;
        for (const auto& column : columns)
            list += (list.empty() ? "" : ", ") + column;
        return list;
    }
#endif

    std::size_t columns_;
    bool completed_ = false;
#if HAUL_PQXX_AT_LEAST(7, 0)
    pqxx::stream_to stream_;
#else
    pqxx::tablewriter stream_;
    std::string line_;
#endif
};

} // namespace haul::compat

#endif
