#ifndef HAUL_OUTCOME_HPP
#define HAUL_OUTCOME_HPP

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace haul {

/// How an execution of a job ended. A handler returns one of these, or throws it; any other exception is a
/// failed attempt with its what().
///
/// All texts are UTF-8; what is not is replaced before it is sent. So is a text that the server refuses (it
/// is too long, or its encoding lacks a character): the outcome stands, with question marks or a note in its
/// place. In a transaction of the handler's, which such a result breaks, the attempt has failed.

/// The job is done.
struct completed {
    completed() = default;
    explicit completed(const nlohmann::json& value)
        : result{value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)} {}

    /// With a result that is JSON text already.
    static completed with_text(std::string json) {
        completed value;
        value.result = std::move(json);
        return value;
    }

    std::string result; ///< JSON text; empty: no result
};

/// The attempt failed; the job runs again while it has attempts left.
struct retry {
    std::string error;
    std::optional<std::chrono::milliseconds> delay{}; ///< instead of the job's backoff; not negative
    std::optional<std::string> queue{};               ///< run again in this queue
};

/// The attempt failed and there will be no other.
struct fail_for_good {
    std::string error;
};

/// The job is not worth doing any more.
struct discard {
    std::string reason;
};

/// The job was called off.
struct cancel {
    std::string reason;
};

/// Run the job again after the delay; this attempt does not count.
struct snooze {
    std::chrono::milliseconds delay{0}; ///< not negative
};

using outcome = std::variant<completed, retry, fail_for_good, discard, cancel, snooze>;

} // namespace haul

#endif
