#include "executor.hpp"

#include "fault.hpp"
#include "haul/error.hpp"
#include "protocol.hpp"
#include "text.hpp"

#include <random>

#include <fmt/format.h>

namespace haul::core {

namespace {

/// The pause before a job that lost its connection is tried again.
constexpr std::chrono::milliseconds after_lost_connection{1000};
/// The same for one that the worker had no descriptors, memory or processes for, and the pause of the thread:
/// drawn anew each time, so that not all threads try at once and then none does.
std::chrono::milliseconds after_shortage() {
    thread_local std::minstd_rand random{std::random_device{}()};
    return std::chrono::milliseconds{std::uniform_int_distribution{500, 1500}(random)};
}

/// Bytes of an error or a reason that are kept, in the log and by the server.
constexpr std::size_t longest_text = 8192;

ending widened(outcome&& how) {
    return std::visit([](auto&& one) -> ending { return std::forward<decltype(one)>(one); }, std::move(how));
}

std::string message_of(std::exception_ptr thrown) {
    try {
        throw_translated(std::move(thrown));
    } catch (const std::exception& failure) {
        return failure.what();
    } catch (...) {
        return "the handler threw something that is not a std::exception";
    }
}

constexpr const char* name_of[] = {"completed", "failed",  "failed_for_good", "discarded",
                                   "cancelled", "snoozed", "interrupted",     "settled"};

// The text of an ending that has one.
std::string* text_of(ending& how) {
    if (auto* again = std::get_if<retry>(&how))
        return &again->error;
    if (auto* failure = std::get_if<fail_for_good>(&how))
        return &failure->error;
    if (auto* reason = std::get_if<discard>(&how))
        return &reason->reason;
    if (auto* reason = std::get_if<cancel>(&how))
        return &reason->reason;
    return nullptr;
}

} // namespace

executor::executor(const registry& handlers, report_sink& reports, thread_connection db,
                   canceller& statements, spdlog::logger& log)
    : handlers_{handlers}, reports_{reports}, db_{std::move(db)}, statements_{statements}, log_{log} {}

void executor::run(job& what) noexcept {
    current_.begin(what);
    db_.begin_job();
    short_for_ = std::chrono::milliseconds{0};
    ending how;
    try {
        if (what.must_confirm_start() && !reports_.confirm_start(what))
            how = settled{};
        else
            how = execute(what);
    } catch (const std::exception& failure) {
        how = retry{failure.what()};
    }
    if (auto* text = text_of(how))
        *text = shortened(std::move(*text), longest_text);
    current_.end();
    log_ending(what, how);
    reports_.report(what, std::move(how));
    pause_if_short();
}

ending executor::postponed(const execution& context, const unavailable& lack) {
    short_for_ = after_shortage();
    log_.warn("event=job_postponed job={} kind={} reason={}", context.id(), log_value(context.kind()),
              log_value(lack.what()));
    return snooze{short_for_};
}

// While others use up what there is, the next job would fare no better.
void executor::pause_if_short() const {
    if (short_for_ > std::chrono::milliseconds{0})
        cancellation_.raised().wait_until(std::chrono::steady_clock::now() + short_for_);
}

void executor::log_ending(const job& what, ending& how) const {
    const bool good = std::holds_alternative<completed>(how) || std::holds_alternative<settled>(how);
    const bool bad = std::holds_alternative<retry>(how) || std::holds_alternative<fail_for_good>(how);
    const auto level = good ? spdlog::level::debug : bad ? spdlog::level::warn : spdlog::level::info;
    if (!log_.should_log(level))
        return;
    const auto* text = text_of(how);
    log_.log(level, "event={} job={} kind={} attempt={}{}", name_of[how.index()], what.id(),
             log_value(what.value(protocol::column::kind)), read_int32(what.value(protocol::column::attempt)),
             text && !text->empty() ? " message=" + log_value(*text) : "");
}

ending executor::execute(job& what) {
    execution context{what, cancellation_, db_, statements_, reports_, log_};
    if (log_.should_log(spdlog::level::debug))
        log_.debug("event=begin job={} kind={} queue={} attempt={}", context.id(), log_value(context.kind()),
                   log_value(context.queue()), context.attempt());

    if (!what.is_legible())
        return fail_for_good{"the arguments of the job are not UTF-8"};

    ending how = call(context);
    const bool cancelled = context.stop_cancelling();
    if (cancelled) {
        // What was cancelled has ended in the server when this has. A request that comes late finds nobody.
        db_.disconnect();
        if (std::holds_alternative<completed>(how))
            how = stopped(context);
    }
    const auto* done = std::get_if<completed>(&how);
    if (done && db_.in_transaction())
        how = complete_within_transaction(what, *done);
    else
        db_.rollback();

    // Whatever the handler made of it: it was the connection.
    if (db_.lost() && !std::holds_alternative<interrupted>(how)) {
        log_.warn("event=job_connection_lost job={} kind={}", context.id(), log_value(context.kind()));
        return snooze{after_lost_connection};
    }
    return how;
}

ending executor::call(const execution& context) {
    const handler* function = handlers_.find(context.kind());
    if (!function)
        return retry{"the worker has no handler for this kind"};
    ending how;
    bool failed = false;
    try {
        how = widened((*function)(context));
    } catch (completed& done) {
        how = std::move(done);
    } catch (retry& again) {
        how = std::move(again);
    } catch (fail_for_good& failure) {
        how = std::move(failure);
    } catch (discard& reason) {
        how = std::move(reason);
    } catch (cancel& reason) {
        how = std::move(reason);
    } catch (snooze& delay) {
        how = delay;
    } catch (const unavailable& lack) {
        how = postponed(context, lack);
    } catch (...) {
        failed = true;
        how = retry{message_of(std::current_exception())};
    }
    if (context.told() && (failed || std::holds_alternative<completed>(how)))
        return stopped(context);
    return how;
}

ending executor::stopped(const execution& context) const {
    if (context.killed())
        return interrupted{};
    const std::string message = "timed out after " + in_seconds(context.timeout());
    if (context.discard_on_timeout())
        return discard{message};
    return retry{message};
}

ending executor::complete_within_transaction(const job& what, const completed& how) {
    try {
        db_.finish(
            fmt::format("SELECT haul.complete({}::bigint, ARRAY[{}::bigint], ARRAY[{}::integer], {}, true)",
                        what.worker_id(), what.id(), what.claim(),
                        how.result.empty() ? "NULL::pg_catalog.jsonb[]"
                                           : "ARRAY[" + db_.quoted(how.result) + "::pg_catalog.jsonb]"));
    } catch (const not_owned&) {
        db_.rollback();
        log_.warn("event=not_owned job={} call=complete effects=rolled_back", what.id());
    } catch (const error& failure) {
        db_.rollback();
        // What the handler did may be what fails now, a deferred constraint say; the rest is between us and
        // the server.
        if (db_.lost() || fault_of(failure) == fault::data)
            return retry{failure.what()};
        return snooze{reports_.refused(what, failure)};
    }
    return settled{};
}

} // namespace haul::core
