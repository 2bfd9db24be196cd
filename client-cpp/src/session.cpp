#include "session.hpp"

#include "haul/connection.hpp"

#include <algorithm>
#include <cstdlib>
#include <poll.h>
#include <regex>
#include <utility>

namespace haul::core {

namespace {

std::string trimmed(const char* text) {
    std::string value = text ? text : "";
    while (!value.empty() && (value.back() == '\n' || value.back() == ' '))
        value.pop_back();
    return value;
}

// Longest time to connect, by the parameter connect_timeout, which libpq applies to each host but, in a
// connect that does not block, leaves to us.
std::optional<std::chrono::seconds> connect_timeout(PGconn* connection) {
    struct closer {
        void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
    };
    const std::unique_ptr<PQconninfoOption, closer> options{PQconninfo(connection)};
    int seconds = 0;
    std::size_t hosts = 1;
    for (const auto* option = options.get(); option && option->keyword; ++option) {
        const std::string_view keyword = option->keyword;
        if (!option->val)
            continue;
        const std::string_view value = option->val;
        if (keyword == "connect_timeout")
            seconds = std::atoi(option->val);
        else if (keyword == "host" || keyword == "hostaddr")
            hosts = std::max<std::size_t>(
                hosts, 1 + static_cast<std::size_t>(std::count(value.begin(), value.end(), ',')));
    }
    if (seconds <= 0)
        return std::nullopt;
    return std::chrono::seconds{seconds} * hosts;
}

} // namespace

parameters& parameters::add_null(oid type) {
    types_.push_back(type);
    values_.push_back(nullptr);
    lengths_.push_back(0);
    formats_.push_back(1);
    return *this;
}

parameters& parameters::own(oid type, std::string value) {
    owned_.push_back(std::move(value));
    types_.push_back(type);
    values_.push_back(owned_.back().data());
    lengths_.push_back(static_cast<int>(owned_.back().size()));
    formats_.push_back(1);
    return *this;
}

parameters& parameters::add_boolean(bool value) {
    return own(type::boolean, std::string(1, value ? '\1' : '\0'));
}

parameters& parameters::add_int32(std::int32_t value) {
    std::string bytes;
    write_int32(bytes, value);
    return own(type::int4, std::move(bytes));
}

parameters& parameters::add_int64(std::int64_t value) {
    std::string bytes;
    write_int64(bytes, value);
    return own(type::int8, std::move(bytes));
}

parameters& parameters::add_text(std::string_view value) {
    return own(type::text, std::string{value});
}

parameters& parameters::add_jsonb(std::string_view value) {
    return own(type::jsonb, '\1' + std::string{value});
}

parameters& parameters::add_interval(std::chrono::microseconds value) {
    std::string bytes;
    write_interval(bytes, value);
    return own(type::interval, std::move(bytes));
}

parameters& parameters::add_array(oid type, array_builder& value) {
    const auto bytes = value.bytes();
    types_.push_back(type);
    values_.push_back(bytes.data());
    lengths_.push_back(static_cast<int>(bytes.size()));
    formats_.push_back(1);
    return *this;
}

session::session(const std::string& dsn, const std::string& application_name, const event& interrupt,
                 bool prepare)
    : interrupt_{&interrupt}, prepare_{prepare} {
    connect(connection_string(dsn, application_name));
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
    choose_encoding();
    lift_limits();
}

std::string_view session::parameter(const char* name) const noexcept {
    const char* value = PQparameterStatus(connection_.get(), name);
    return value ? value : "";
}

// Texts are UTF-8 here, whatever the environment asks for. A server without an encoding would not convert
// them, but refuse all rows of an answer for one byte in one of them.
void session::choose_encoding() {
    const std::string wanted = parameter("server_encoding") == "SQL_ASCII" ? "SQL_ASCII" : "UTF8";
    if (parameter("client_encoding") != wanted)
        execute("SET client_encoding = '" + wanted + "'");
}

// Limits of time that a role or a database sets for its users are not meant for the queue's own calls. Only a
// session of our own may be changed: the process id of a pooler's is not the one that it told when we
// connected.
void session::lift_limits() {
    static constexpr statement call{
        "haul_lift_limits",
        "SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $1, "
        "pg_catalog.count(pg_catalog.set_config(name, '0', false))"
        " FROM pg_catalog.pg_settings WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $1"
        " AND name OPERATOR(pg_catalog.=) ANY ('{statement_timeout, lock_timeout, transaction_timeout,"
        " idle_session_timeout, idle_in_transaction_session_timeout}'::pg_catalog.text[])"
        " AND setting OPERATOR(pg_catalog.<>) '0'"};
    direct_ = finish(send_whole(call, parameters{}.add_int32(backend_pid()))).boolean(0, 0);
}

void session::connect(const std::string& dsn) {
    connection_.reset(PQconnectStart(dsn.c_str()));
    if (!connection_)
        throw std::bad_alloc{};
    PQsetErrorVerbosity(connection_.get(), PQERRORS_VERBOSE); // with the SQLSTATE
    std::optional<steady_time> deadline;
    if (const auto timeout = connect_timeout(connection_.get()))
        deadline = std::chrono::steady_clock::now() + *timeout;

    auto state = PQstatus(connection_.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            fail_to_connect();
        wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
        if (deadline && std::chrono::steady_clock::now() >= *deadline)
            throw connection_error{"timeout expired while connecting to the database", "08001"};
        state = PQconnectPoll(connection_.get());
    }
    PQsetErrorVerbosity(connection_.get(), PQERRORS_DEFAULT);
    if (PQsetnonblocking(connection_.get(), 1) != 0)
        throw connection_error{trimmed(PQerrorMessage(connection_.get())), "08006"};
}

// libpq tells why the server refused a connection by the text alone, and that for each host that it tried.
void session::fail_to_connect() {
    static const std::regex sqlstate{"(:  )([0-9A-Z]{5}): "}, location{"\n?LOCATION:  [^\n]*"};
    const std::string verbose = PQerrorMessage(connection_.get());
    std::string state = "08001";
    for (std::sregex_iterator found{verbose.begin(), verbose.end(), sqlstate}, end; found != end; ++found)
        state = (*found)[2];
    const auto text = std::regex_replace(std::regex_replace(verbose, sqlstate, "$1"), location, "");
    throw connection_error{trimmed(text.c_str()), state};
}

void session::wait(short wanted, std::optional<steady_time> until) {
    if (!wait_for(socket(), wanted, *interrupt_, until) && interrupt_->is_set())
        throw interrupted_error{"interrupted while waiting for the database"};
}

void session::fail(const PGresult* raw) {
    const char* state = raw ? PQresultErrorField(raw, PG_DIAG_SQLSTATE) : nullptr;
    const bool lost = PQstatus(connection_.get()) == CONNECTION_BAD;
    const std::string text = trimmed(raw ? PQresultErrorMessage(raw) : PQerrorMessage(connection_.get()));
    if (lost || !state)
        throw connection_error{text.empty() ? "connection to the database is lost" : text,
                               state ? state : "08006"};
    throw_error(text, state);
}

// Takes what has been read. Rows arrive before the transaction commits: only when nothing more comes is the
// statement done, and the answer true.
bool session::collect() {
    while (!PQisBusy(connection_.get())) {
        PGresult* raw = PQgetResult(connection_.get());
        if (!raw)
            return true;
        const auto status = PQresultStatus(raw);
        (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ? rows_ : refusal_) = result{raw};
    }
    return false;
}

result session::collected() {
    const result refusal = std::exchange(refusal_, result{nullptr});
    result rows = std::exchange(rows_, result{nullptr});
    if (refusal.raw())
        fail(refusal.raw());
    if (!rows.raw())
        fail(nullptr);
    return rows;
}

result session::finish(int sent) {
    if (!sent)
        fail(nullptr);
    for (;;) {
        const int left = PQflush(connection_.get());
        if (left < 0)
            fail(nullptr);
        if (left == 0 && collect())
            return collected();
        wait(static_cast<short>(left > 0 ? POLLIN | POLLOUT : POLLIN));
        read();
    }
}

void session::prepare(const statement& what, const parameters& values) {
    if (prepared_.count(what.name))
        return;
    finish(PQsendPrepare(connection_.get(), what.name, what.sql, static_cast<int>(values.types_.size()),
                         values.types_.data()));
    prepared_.insert(what.name);
}

int session::send_whole(const statement& what, const parameters& values) {
    return PQsendQueryParams(connection_.get(), what.sql, static_cast<int>(values.types_.size()),
                             values.types_.data(), values.values_.data(), values.lengths_.data(),
                             values.formats_.data(), 1);
}

result session::query(const statement& what, const parameters& values) {
    if (!prepare_)
        return finish(send_whole(what, values));
    prepare(what, values);
    return finish(PQsendQueryPrepared(connection_.get(), what.name, static_cast<int>(values.types_.size()),
                                      values.values_.data(), values.lengths_.data(), values.formats_.data(),
                                      1));
}

void session::send(const statement& what, const parameters& values) {
    if (!send_whole(what, values))
        fail(nullptr);
    int left = 0;
    while ((left = PQflush(connection_.get())) > 0)
        wait(POLLOUT);
    if (left < 0)
        fail(nullptr);
}

std::optional<result> session::answer() {
    read();
    if (!collect())
        return std::nullopt;
    return collected();
}

std::int32_t session::current_backend() {
    static constexpr statement call{"haul_backend", "SELECT pg_catalog.pg_backend_pid()"};
    return read_int32(finish(send_whole(call, {}))(0, 0));
}

bool session::is_standby() const noexcept {
    return parameter("in_hot_standby") == "on";
}

bool session::is_converted() const noexcept {
    return parameter("client_encoding") == "UTF8";
}

std::unique_ptr<PGcancel, session::cancel_closer> session::cancel_handle() const {
    return std::unique_ptr<PGcancel, cancel_closer>{PQgetCancel(connection_.get())};
}

void session::execute(const std::string& sql) {
    finish(PQsendQuery(connection_.get(), sql.c_str()));
}

void session::read() {
    if (!PQconsumeInput(connection_.get()))
        fail(nullptr);
}

std::vector<std::string> session::notifications() {
    std::vector<std::string> payloads;
    struct closer {
        void operator()(PGnotify* raw) const noexcept { PQfreemem(raw); }
    };
    while (const auto raw = std::unique_ptr<PGnotify, closer>{PQnotifies(connection_.get())})
        payloads.emplace_back(raw->extra);
    return payloads;
}

// An idle pooler hands out the backend that it got back last; in a busy one they change all the time.
bool share_backends(session& one, session& other) {
    constexpr int looks = 10;
    const auto first = one.current_backend(), second = other.current_backend();
    bool shared = first == second;
    for (int i = 0; i < looks && !shared; ++i)
        shared = one.current_backend() != first || other.current_backend() != second;
    return shared;
}

} // namespace haul::core
