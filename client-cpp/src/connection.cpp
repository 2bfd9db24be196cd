#include "haul/connection.hpp"

#include "haul/error.hpp"
#include "haul/pqxx_compat.hpp"

#include <cstdlib>
#include <libpq-fe.h>
#include <string_view>

namespace haul {

namespace {

struct free_options {
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
};
using options_ptr = std::unique_ptr<PQconninfoOption, free_options>;

options_ptr parse(const std::string& dsn) {
    char* message = nullptr;
    options_ptr options{PQconninfoParse(dsn.c_str(), &message)};
    if (!options) {
        std::string text = message ? message : "out of memory\n";
        PQfreemem(message);
        while (!text.empty() && text.back() == '\n')
            text.pop_back();
        throw error{"bad connection string: " + text, "08001"};
    }
    return options;
}

void append(std::string& string, std::string_view keyword, std::string_view value) {
    if (!string.empty())
        string += ' ';
    string.append(keyword).append("='");
    for (const char c : value) {
        if (c == '\'' || c == '\\')
            string += '\\';
        string += c;
    }
    string += '\'';
}

} // namespace

std::string connection_string(const std::string& dsn, const std::string& application_name) {
    struct setting {
        std::string_view keyword;
        std::string value;
        bool even_with_service; // libpq prefers what is in the string to what is in the service file
    };
    const setting defaults[] = {
        {"fallback_application_name", application_name, true},
        {"client_encoding", "UTF8", true},
        {"connect_timeout", "10", false},
        {"keepalives_idle", "30", false},
        {"tcp_user_timeout", "15000", false},
    };

    const options_ptr options = parse(dsn);
    const auto is_set = [&](std::string_view keyword) {
        for (const PQconninfoOption* option = options.get(); option->keyword; ++option) {
            if (option->keyword == keyword)
                return option->val || (option->envvar && std::getenv(option->envvar));
        }
        return false;
    };

    std::string result;
    for (const PQconninfoOption* option = options.get(); option->keyword; ++option) {
        if (option->val)
            append(result, option->keyword, option->val);
    }
    const bool has_service = is_set("service");
    for (const auto& setting : defaults) {
        if (!is_set(setting.keyword) && (setting.even_with_service || !has_service))
            append(result, setting.keyword, setting.value);
    }
    return result;
}

connection::connection(const std::string& dsn, const std::string& application_name) {
    const std::string string = connection_string(dsn, application_name);
    try {
        raw_ = std::make_unique<pqxx::connection>(string);
    } catch (...) {
        throw_translated(std::current_exception(), true);
    }
    compat::inhibit_reactivation(*raw_);
}

// Not inline: compilers that see what is destroyed warn of an empty optional<connection>.
connection::~connection() = default;

bool connection::is_open() const noexcept {
    return compat::is_open(*raw_);
}

bool connection::is_alive() noexcept {
    try {
        compat::get_notifications(*raw_);
        return true;
    } catch (const std::exception&) {
        return false;
    }
}

} // namespace haul
