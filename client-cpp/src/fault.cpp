#include "fault.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace haul::core {

namespace {

// Classes of SQLSTATEs that blame what was sent, or with which somebody's trigger refuses it.
constexpr std::array<std::string_view, 12> data_classes{"09", "21", "22", "23", "27", "2F",
                                                        "38", "39", "44", "54", "HQ", "P0"};
// Classes that blame the set-up: what is not installed, allowed or supported, and logins.
constexpr std::array<std::string_view, 8> setup_classes{"0A", "0L", "0P", "26", "28", "3D", "3F", "42"};

constexpr std::string_view read_only = "25006";

template <std::size_t count>
bool has_class_of(const std::array<std::string_view, count>& classes, std::string_view sqlstate) {
    return std::find(classes.begin(), classes.end(), sqlstate.substr(0, 2)) != classes.end();
}

} // namespace

fault fault_of(const error& failure) {
    const std::string_view state = failure.sqlstate();
    if (dynamic_cast<const connection_error*>(&failure)) {
        const bool refused = state.substr(0, 2) == "28" || state == "3D000" || state == "42501";
        return refused ? fault::setup : fault::connection;
    }
    if (state == read_only || has_class_of(setup_classes, state))
        return fault::setup;
    // A transaction that is broken already was broken by whoever uses it.
    if (has_class_of(data_classes, state) || state == "25P02")
        return fault::data;
    return fault::server;
}

bool shows_pooler(const error& failure) {
    return failure.sqlstate() == "26000" || failure.sqlstate() == "42P05";
}

std::string advice(const error& failure) {
    const std::string_view state = failure.sqlstate();
    if (!failure.hint().empty())
        return failure.hint();
    if (shows_pooler(failure))
        return "A pooler in transaction mode gives the worker no session of its own. Start it with --wait "
               "call.";
    if (state == read_only)
        return "Connect to the primary: name all servers in the connection string, with"
               " target_session_attrs=read-write.";
    if (state == "42501")
        return "Let an administrator run SELECT haul.grant_worker('…') for the role of the worker.";
    if (state.substr(0, 2) == "28")
        return "Look at the user and password of the connection string, and at the server's pg_hba.conf.";
    return {};
}

} // namespace haul::core
