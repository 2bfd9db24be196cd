#include "execution.hpp"

#include "protocol.hpp"
#include "text.hpp"

#include <algorithm>

namespace haul::core {

namespace column = protocol::column;

execution::execution(job& what, cancellation& cancelled, thread_connection& db, canceller& statements,
                     report_sink& reports, spdlog::logger& log)
    : job_{what}, cancellation_{cancelled}, db_{db}, statements_{statements}, reports_{reports}, log_{log} {
    // A timeout of years would overflow the clock, and means none.
    constexpr std::chrono::hours longest{24 * 365};
    if (!job_.is_null(column::timeout))
        deadline_ =
            std::chrono::steady_clock::now() + std::min<std::chrono::microseconds>(timeout(), longest);
}

std::string_view execution::kind() const noexcept {
    return job_.value(column::kind);
}
std::string_view execution::queue() const noexcept {
    return job_.value(column::queue);
}
std::string_view execution::args_text() const noexcept {
    return read_jsonb(job_.value(column::args));
}
std::string_view execution::last_error() const noexcept {
    return job_.value(column::last_error);
}
int execution::priority() const noexcept {
    return read_int16(job_.value(column::priority));
}
int execution::attempt() const noexcept {
    return read_int32(job_.value(column::attempt));
}
int execution::max_attempts() const noexcept {
    return read_int32(job_.value(column::max_attempts));
}

const nlohmann::json& execution::args() const {
    if (!args_)
        args_ = nlohmann::json::parse(args_text());
    return *args_;
}

timestamp execution::run_at() const noexcept {
    return read_timestamp(job_.value(column::run_at));
}

timestamp execution::enqueued_at() const noexcept {
    return read_timestamp(job_.value(column::enqueued_at));
}

std::optional<timestamp> execution::interrupted_at() const noexcept {
    if (job_.is_null(column::interrupted_at))
        return std::nullopt;
    return read_timestamp(job_.value(column::interrupted_at));
}

std::optional<std::int64_t> execution::workflow_id() const noexcept {
    if (job_.is_null(column::workflow_id))
        return std::nullopt;
    return read_int64(job_.value(column::workflow_id));
}

std::string_view execution::cron_name() const noexcept {
    return job_.value(column::cron_name);
}

pqxx::transaction_base& execution::transaction() const {
    auto& begun = db_.transaction();
    if (!watch_)
        watch_.emplace(statements_, *this, db_.raw());
    return begun;
}

bool execution::stop_cancelling() noexcept {
    const bool cancelled = watch_ && watch_->has_cancelled();
    watch_.reset();
    return cancelled;
}

std::string_view execution::results_text() const {
    if (!results_text_)
        results_text_ = workflow_id() ? db_.value("SELECT haul.results($1)", {std::to_string(id())}) : "{}";
    return *results_text_;
}

const nlohmann::json& execution::results() const {
    if (!results_)
        results_ = nlohmann::json::parse(results_text());
    return *results_;
}

std::chrono::microseconds execution::timeout() const noexcept {
    return read_interval(job_.value(column::timeout));
}

bool execution::discard_on_timeout() const noexcept {
    return job_.value(column::on_timeout) == "discard";
}

bool execution::cancelled() const noexcept {
    const bool stop =
        cancellation_.requested() || (deadline_ && std::chrono::steady_clock::now() >= *deadline_);
    if (stop)
        told_.store(true, std::memory_order_relaxed);
    return stop;
}

bool execution::wait_for(std::chrono::milliseconds duration) const {
    const auto now = std::chrono::steady_clock::now();
    // Longer than anybody waits, and short enough for the clock not to overflow.
    auto until = now + std::min<std::chrono::milliseconds>(duration, std::chrono::hours{24 * 365});
    if (deadline_)
        until = std::min(until, *deadline_);
    cancellation_.raised().wait_until(until);
    return !cancelled();
}

void execution::progress(const nlohmann::json& value) const {
    reports_.progress(job_, value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void execution::log(log_level level, std::string_view message) const {
    constexpr spdlog::level::level_enum levels[] = {spdlog::level::trace, spdlog::level::debug,
                                                    spdlog::level::info, spdlog::level::warn,
                                                    spdlog::level::err};
    const auto chosen = levels[static_cast<std::size_t>(level)];
    if (log_.should_log(chosen))
        log_.log(chosen, "event=handler job={} kind={} attempt={} message={}", id(), log_value(kind()),
                 attempt(), log_value(message));
}

std::string execution::to_json() const {
    nlohmann::json rest{
        {"id", id()},
        {"kind", kind()},
        {"queue", queue()},
        {"priority", priority()},
        {"attempt", attempt()},
        {"max_attempts", max_attempts()},
        {"run_at", in_utc(run_at())},
        {"enqueued_at", in_utc(enqueued_at())},
        {"interrupted_at", nullptr},
        {"last_error", nullptr},
        {"workflow_id", nullptr},
        {"cron_name", nullptr},
    };
    if (const auto at = interrupted_at())
        rest["interrupted_at"] = in_utc(*at);
    if (!job_.is_null(column::last_error))
        rest["last_error"] = last_error();
    if (const auto workflow = workflow_id())
        rest["workflow_id"] = *workflow;
    if (!job_.is_null(column::cron_name))
        rest["cron_name"] = cron_name();
    std::string text = rest.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    // These are put in as they are: numbers keep all their digits.
    text.insert(text.size() - 1, ",\"args\":" + std::string{args_text()});
    if (const auto results = results_text(); results != "{}")
        text.insert(text.size() - 1, ",\"results\":" + std::string{results});
    return text;
}

} // namespace haul::core
