#include "drain.hpp"

#include <algorithm>

namespace haul::core {

namespace {

// For handlers that were told to stop to do so, and for the server to hear of it.
constexpr std::chrono::seconds grace{10};
constexpr std::chrono::seconds forced_grace{2};

} // namespace

void drain::give_up_by(steady_time time) {
    give_up_at_ = give_up_at_ ? std::min(*give_up_at_, time) : time;
}

void drain::begin(steady_time now) {
    switch (how_.how) {
    case termination::mode::wait_forever:
        break;
    case termination::mode::limited:
        kill_at_ = now + how_.limit;
        break;
    case termination::mode::abandon:
        if (may_abandon_)
            give_up_by(now);
        else
            kill_at_ = now;
        break;
    }
}

void drain::kill(steady_time now, cancellation::level how) {
    if (how <= level_)
        return;
    level_ = how;
    give_up_by(now + (how == cancellation::level::force ? forced_grace : grace));
}

void drain::only_database_missing(bool missing, steady_time now) {
    if (!missing)
        database_until_.reset();
    else if (!database_until_)
        database_until_ = now + grace;
}

cancellation::level drain::level(steady_time now) {
    if (kill_at_ && now >= *kill_at_)
        kill(now, cancellation::level::worker);
    return level_;
}

std::optional<steady_time> drain::wake_at(steady_time now) const {
    std::optional<steady_time> next;
    for (const auto& time : {kill_at_, give_up_at_, database_until_}) {
        if (time && *time > now && (!next || *time < *next))
            next = time;
    }
    return next;
}

} // namespace haul::core
