#include "support/session.hpp"

#include <libpq-fe.h>

namespace haul::test {

namespace {

struct result_closer {
    void operator()(PGresult* result) const { PQclear(result); }
};
using result_ptr = std::unique_ptr<PGresult, result_closer>;

std::string trimmed(const char* text) {
    std::string trimmed = text == nullptr ? "" : text;
    while (!trimmed.empty() && trimmed.back() == '\n')
        trimmed.pop_back();
    return trimmed;
}

[[noreturn]] void fail(pg_conn* connection, const PGresult* result) {
    const auto field = [&](int code) { return trimmed(result ? PQresultErrorField(result, code) : nullptr); };
    std::string message = field(PG_DIAG_MESSAGE_PRIMARY);
    if (message.empty())
        message = trimmed(PQerrorMessage(connection));
    throw sql_error(message, field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_HINT));
}

rows checked(pg_conn* connection, const PGresult* result) {
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        return {};
    case PGRES_TUPLES_OK:
        break;
    default:
        fail(connection, result);
    }
    rows found(PQntuples(result));
    for (int r = 0; r < PQntuples(result); ++r)
        for (int c = 0; c < PQnfields(result); ++c)
            found[r].push_back(PQgetisnull(result, r, c)
                                   ? value{}
                                   : std::string(PQgetvalue(result, r, c), PQgetlength(result, r, c)));
    return found;
}

} // namespace

void session::closer::operator()(pg_conn* connection) const {
    PQfinish(connection);
}

session::session(const std::string& dsn) : connection_(PQconnectdb(dsn.c_str())) {
    if (PQstatus(handle()) != CONNECTION_OK)
        fail(handle(), nullptr);
    PQsetNoticeProcessor(
        handle(), [](void*, const char*) {}, nullptr);
}

rows session::exec(const std::string& sql, const std::vector<value>& parameters) {
    if (parameters.empty())
        return checked(handle(), result_ptr(PQexec(handle(), sql.c_str())).get());
    std::vector<const char*> values;
    for (const value& parameter : parameters)
        values.push_back(parameter ? parameter->c_str() : nullptr);
    const result_ptr result(PQexecParams(handle(), sql.c_str(), static_cast<int>(values.size()), nullptr,
                                         values.data(), nullptr, nullptr, 0));
    return checked(handle(), result.get());
}

value session::get(const std::string& sql, const std::vector<value>& parameters) {
    const rows found = exec(sql, parameters);
    if (found.size() != 1)
        throw std::logic_error(std::to_string(found.size()) + " rows instead of one: " + sql);
    return found[0].at(0);
}

std::string session::text(const std::string& sql, const std::vector<value>& parameters) {
    const value found = get(sql, parameters);
    if (!found)
        throw std::logic_error("NULL: " + sql);
    return *found;
}

std::int64_t session::number(const std::string& sql, const std::vector<value>& parameters) {
    return std::stoll(text(sql, parameters));
}

bool session::truth(const std::string& sql, const std::vector<value>& parameters) {
    return text(sql, parameters) == "t";
}

std::int64_t session::copy(const std::string& sql, const std::string& data) {
    result_ptr result(PQexec(handle(), sql.c_str()));
    if (PQresultStatus(result.get()) != PGRES_COPY_IN)
        fail(handle(), result.get());
    if (PQputCopyData(handle(), data.data(), static_cast<int>(data.size())) != 1 ||
        PQputCopyEnd(handle(), nullptr) != 1)
        fail(handle(), nullptr);
    result.reset(PQgetResult(handle()));
    const result_ptr end(PQgetResult(handle()));
    checked(handle(), result.get());
    return std::stoll(PQcmdTuples(result.get()));
}

void session::send(const std::string& sql) {
    if (PQsendQuery(handle(), sql.c_str()) != 1)
        fail(handle(), nullptr);
}

bool session::busy() {
    if (PQconsumeInput(handle()) != 1)
        fail(handle(), nullptr);
    return PQisBusy(handle()) == 1;
}

rows session::finish() {
    result_ptr last;
    for (result_ptr next(PQgetResult(handle())); next; next.reset(PQgetResult(handle())))
        last = std::move(next);
    if (!last)
        return {};
    return checked(handle(), last.get());
}

std::vector<notification> session::notifications() {
    struct freer {
        void operator()(PGnotify* notify) const { PQfreemem(notify); }
    };
    if (PQconsumeInput(handle()) != 1)
        fail(handle(), nullptr);
    std::vector<notification> arrived;
    while (const std::unique_ptr<PGnotify, freer> notify{PQnotifies(handle())})
        arrived.push_back({notify->relname, notify->extra});
    return arrived;
}

int session::backend_pid() const {
    return PQbackendPID(handle());
}

} // namespace haul::test
