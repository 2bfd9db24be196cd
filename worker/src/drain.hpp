#ifndef HAUL_WORKER_DRAIN_HPP
#define HAUL_WORKER_DRAIN_HPP

#include "cancellation.hpp"
#include "event.hpp"
#include "haul/options.hpp"

#include <optional>

namespace haul::core {

/// How long a draining worker waits for what still runs, when it kills it, and when it gives up. Not
/// thread-safe.
class drain {
public:
    drain(const termination& how, bool may_abandon) : how_{how}, may_abandon_{may_abandon} {}

    void begin(steady_time now);
    /// Somebody asks to kill what runs.
    void kill(steady_time now, cancellation::level how);
    /// Whether nothing is left but to tell the server, which is away or refuses to hear it: that has an end,
    /// too.
    void only_database_missing(bool missing, steady_time now);

    /// What the handlers should be told by now.
    cancellation::level level(steady_time now);
    /// Whether to end although not everything has ended.
    bool give_up(steady_time now) const {
        return (give_up_at_ && now >= *give_up_at_) || (database_until_ && now >= *database_until_);
    }
    /// Whether threads that do not end may be left behind: only when the process ends with them.
    bool may_abandon() const noexcept { return may_abandon_; }
    /// When one of the answers may change.
    std::optional<steady_time> wake_at(steady_time now) const;

private:
    void give_up_by(steady_time time);

    termination how_;
    bool may_abandon_;
    cancellation::level level_ = cancellation::level::none;
    std::optional<steady_time> kill_at_;
    std::optional<steady_time> give_up_at_;
    std::optional<steady_time> database_until_;
};

} // namespace haul::core

#endif
