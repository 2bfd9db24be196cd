#ifndef HAUL_CONNECTION_HPP
#define HAUL_CONNECTION_HPP

#include <memory>
#include <pqxx/pqxx>
#include <string>

namespace haul {

/// The connection string that haul connects with: `dsn` (keywords and values, a URI, or empty for libpq's
/// environment variables) and, where neither it nor the environment says otherwise:
/// fallback_application_name, client_encoding=UTF8, connect_timeout=10 and keepalives_idle=30 (seconds),
/// tcp_user_timeout=15000 (milliseconds). With a service file only the first two are added. Throws
/// haul::error for a string that libpq cannot read.
std::string connection_string(const std::string& dsn, const std::string& application_name = "haul");

/// A database connection of one's own. It never reconnects: when it is lost, make a new one.
/// Not thread-safe: a connection and all that is made from it belong to one thread at a time.
class connection {
public:
    /// Connects. Throws haul::connection_error.
    explicit connection(const std::string& dsn = {}, const std::string& application_name = "haul");

    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    connection(connection&&) noexcept = default;
    connection& operator=(connection&&) noexcept = default;
    ~connection();

    /// Valid as long as this object, and through moves of it.
    pqxx::connection& raw() const noexcept { return *raw_; }
    pqxx::connection& operator*() const noexcept { return *raw_; }
    pqxx::connection* operator->() const noexcept { return raw_.get(); }

    /// What the last use of the connection showed; asks nobody.
    bool is_open() const noexcept;

    /// Looks, without blocking, whether the server has closed the connection. No transaction may be open on
    /// it. A network that went away in silence does not show.
    bool is_alive() noexcept;

private:
    std::unique_ptr<pqxx::connection> raw_;
};

} // namespace haul

#endif
