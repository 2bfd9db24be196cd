#include "haul/error.hpp"

#include <pqxx/pqxx>
#include <string_view>

namespace haul {

namespace {

struct report {
    std::string message;
    std::string detail;
    std::string hint;
};

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

/// Removes `label` from the head of the line, if it stands there.
bool take_label(std::string_view& line, std::string_view label) {
    if (!starts_with(line, label))
        return false;
    line.remove_prefix(label.size());
    return true;
}

/// Splits what libpq reports: "ERROR:  message", then labelled lines, each of which may go on over several
/// lines.
report split_report(std::string_view text) {
    report parts;
    std::string ignored;
    std::string* part = &parts.message;

    for (const std::string_view severity : {"ERROR:  ", "FATAL:  ", "PANIC:  "}) {
        if (take_label(text, severity))
            break;
    }
    while (!text.empty()) {
        const auto end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);

        if (take_label(line, "DETAIL:  "))
            part = &parts.detail;
        else if (take_label(line, "HINT:  "))
            part = &parts.hint;
        else if (starts_with(line, "LINE ") || starts_with(line, "QUERY:  ") ||
                 starts_with(line, "CONTEXT:  "))
            part = &ignored;
        else if (!part->empty())
            *part += '\n';
        part->append(line);
    }
    while (!parts.message.empty() && parts.message.back() == '\n')
        parts.message.pop_back();
    return parts;
}

/// States in which the server ends the session, or refuses one for the moment: shutdown, crash, too many
/// clients.
bool ends_session(std::string_view sqlstate) {
    return starts_with(sqlstate, "08") || starts_with(sqlstate, "57P") || sqlstate == "53300";
}

/// Whether what is missing is ours, and not something that a handler's own SQL named.
bool names_us(const std::string& message) {
    return message.find("haul.") != std::string::npos || message.find("\"haul\"") != std::string::npos;
}

[[noreturn]] void throw_lost(const std::string& text, const std::string& sqlstate) {
    const auto [message, detail, hint] = split_report(text);
    throw connection_error{message, sqlstate.empty() ? "08006" : sqlstate, detail, hint};
}

[[noreturn]] void throw_report(const std::string& text, const std::string& sqlstate, bool connection_lost) {
    if (connection_lost)
        throw_lost(text, sqlstate);
    throw_error(text, sqlstate);
}

} // namespace

void throw_error(const std::string& text, const std::string& sqlstate) {
    if (ends_session(sqlstate))
        throw_lost(text, sqlstate);

    auto [message, detail, hint] = split_report(text);
    if (sqlstate == "23505")
        throw duplicate_job{message, sqlstate, detail, hint};
    if (starts_with(sqlstate, "22") || starts_with(sqlstate, "23"))
        throw bad_job{message, sqlstate, detail, hint};
    if (sqlstate == "HQ001")
        throw not_owned{message, sqlstate, detail, hint};
    if (sqlstate == "HQ002")
        throw queue_full{message, sqlstate, detail, hint};
    if (sqlstate == "HQ003")
        throw unknown_worker{message, sqlstate, detail, hint};
    if (sqlstate == "42501")
        throw permission_denied{message, sqlstate, detail, hint};
    if (sqlstate == "3F000" || sqlstate == "42P01" || sqlstate == "42703" || sqlstate == "42883") {
        if (names_us(message))
            hint = "CREATE EXTENSION pg_haul in this database, or ALTER EXTENSION pg_haul UPDATE.";
        throw not_installed{message, sqlstate, detail, hint};
    }
    if (starts_with(sqlstate, "40"))
        throw transaction_conflict{message, sqlstate, detail, hint};
    throw error{message, sqlstate, detail, hint};
}

void throw_translated(std::exception_ptr exception, bool connection_lost) {
    try {
        std::rethrow_exception(exception);
    } catch (const error&) {
        throw;
    } catch (const pqxx::in_doubt_error& e) {
        throw_lost(e.what(), "08007");
    } catch (const pqxx::broken_connection& e) {
        throw_lost(e.what(), "");
    } catch (const pqxx::serialization_failure& e) { // no sql_error in libpqxx 6.4, nor are the next three
        throw_report(e.what(), "40001", connection_lost);
    } catch (const pqxx::deadlock_detected& e) {
        throw_report(e.what(), "40P01", connection_lost);
    } catch (const pqxx::statement_completion_unknown& e) {
        throw_report(e.what(), "40003", connection_lost);
    } catch (const pqxx::transaction_rollback& e) {
        throw_report(e.what(), "40000", connection_lost);
    } catch (const pqxx::insufficient_privilege& e) { // 6.4 leaves the SQLSTATE out
        throw_report(e.what(), "42501", connection_lost);
    } catch (const pqxx::sql_error& e) {
        const std::string sqlstate{e.sqlstate()};
        throw_report(e.what(), sqlstate,
                     connection_lost || sqlstate.empty()); // empty: libpq's own, it cannot talk
    } catch (const pqxx::internal_error& e) {              // the next five are no failure before libpqxx 8
        throw_report(e.what(), "", connection_lost);
    } catch (const pqxx::usage_error& e) {
        throw_report(e.what(), "", connection_lost);
    } catch (const pqxx::argument_error& e) {
        throw_report(e.what(), "", connection_lost);
    } catch (const pqxx::conversion_error& e) {
        throw_report(e.what(), "", connection_lost);
    } catch (const pqxx::range_error& e) {
        throw_report(e.what(), "", connection_lost);
    } catch (const pqxx::failure& e) {
        throw_report(e.what(), "", connection_lost);
    }
}

} // namespace haul
