#include "fetcher.hpp"

#include "haul/error.hpp"
#include "protocol.hpp"
#include "text.hpp"

#include <algorithm>
#include <poll.h>
#include <pthread.h>

namespace haul::core {

namespace {

constexpr std::size_t largest_checkout = 1000;
constexpr std::size_t most_ahead = 1000;

// With so many reports undelivered the server is slower than the handlers: fetching more would only pile them
// up.
constexpr std::uint64_t most_undelivered = 20'000;

// Jobs fetched ahead that no thread gets to in this time are better run by another worker.
constexpr std::chrono::seconds stalled{1};

constexpr std::chrono::milliseconds recheck_when_emptying{20};

} // namespace

fetcher::fetcher(const worker_options& options, const std::string& name, const subscription& jobs,
                 bool may_abandon, connect_function connect, const surroundings& around)
    : options_{options},
      subscription_{jobs},
      connect_{std::move(connect)},
      around_{around},
      member_{name, jobs.registration(), options.heartbeat_interval, around.log},
      schedule_{options.polling_interval, options.polling_jitter},
      prefetch_{most_ahead},
      drain_{options.wait_for_termination, may_abandon} {}

void fetcher::stop() noexcept {
    stop_requested_ = true;
    around_.wake.set();
}

void fetcher::kill(cancellation::level how) noexcept {
    auto current = kill_requested_.load();
    while (current < how && !kill_requested_.compare_exchange_weak(current, how)) {
    }
    stop();
}

void fetcher::enter() {
    connect();
    member_.enter(*session_);
    const auto now = std::chrono::steady_clock::now();
    pause_.succeeded(now);
    progress_at_ = now;
    if (options_.exit_after)
        exit_at_ = now + *options_.exit_after;
}

void fetcher::run() noexcept {
    pthread_setname_np(pthread_self(), "haul-fetch");
    while (phase_ != phase::ended) {
        try {
            around_.wake.clear();
            wake_at_.reset();
            step();
        } catch (const unknown_worker&) {
            try {
                reenter();
            } catch (const std::exception& failure) {
                lost(failure.what());
            }
            continue;
        } catch (const std::exception& failure) {
            lost(failure.what());
        }
        if (phase_ != phase::ended)
            wait();
    }
}

void fetcher::wait() {
    const int socket = session_ ? session_->socket() : -1;
    if (!session_)
        sooner(reconnect_at_);
    wait_for(socket, POLLIN, around_.wake, wake_at_);
}

void fetcher::sooner(steady_time time) {
    wake_at_ = wake_at_ ? std::min(*wake_at_, time) : time;
}

void fetcher::step() {
    const auto now = std::chrono::steady_clock::now();
    if (phase_ == phase::working) {
        if (stop_requested_)
            begin_drain("stop");
        else if (exit_at_ && now >= *exit_at_)
            begin_drain("exit_after");
        else if (exit_at_)
            sooner(*exit_at_);
    }
    // Before anything that needs the database, which may be away.
    if (phase_ == phase::draining) {
        continue_drain();
        if (phase_ == phase::ended)
            return;
    }
    if (!session_ && now >= reconnect_at_)
        reconnect();
    if (session_) {
        read_notifications();
        heartbeat();
        if (phase_ == phase::working)
            fetch();
    }
    if (phase_ == phase::working)
        around_.threads.adapt();
    else if (phase_ == phase::draining)
        continue_drain();
}

void fetcher::connect() {
    session_.emplace(connect_());
    // Without a listener the connection may be one of a pooler's: nothing set here may stay behind in it.
    if (!options_.enable_listener)
        return;
    session_->execute("LISTEN haul");
    // A checkout that is lost in a crash leaves jobs that are ready again.
    session_->execute("SET synchronous_commit = off");
}

void fetcher::reconnect() {
    connect();
    pause_.succeeded(std::chrono::steady_clock::now());
    around_.log.info("event=connected connection=fetch");
    const bool known = member_.beat(*session_, around_.ahead.state().busy, phase_ == phase::draining);
    if (!known)
        reenter();
    else
        member_.reconcile(*session_, around_.jobs.snapshot());
    deliver_first_ = around_.reports.accepted();
    schedule_.look_now();
}

void fetcher::lost(const char* message) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = pause_.next(now);
    const bool was_connected = session_.has_value();
    session_.reset();
    reconnect_at_ = now + pause;
    around_.log.log(was_connected ? spdlog::level::warn : spdlog::level::debug,
                    "event=connection_lost connection=fetch pause_ms={} message={}", pause.count(),
                    log_value(message));
}

// The row is gone, and with it everything that was ours.
void fetcher::reenter() {
    const auto dropped = around_.ahead.withdraw();
    around_.log.warn("event=registration_lost worker_id={} dropped={}", member_.id(), dropped.size());
    for (auto* job : dropped)
        job->settle();
    around_.threads.cancel(cancellation::level::job);
    if (phase_ == phase::working)
        member_.enter(*session_);
    else
        member_.forget();
    schedule_.look_now();
}

void fetcher::heartbeat() {
    if (std::chrono::steady_clock::now() >= member_.next_beat() && member_.id() != 0) {
        if (member_.beat(*session_, around_.ahead.state().busy, phase_ == phase::draining))
            member_.maintain(*session_);
        else
            reenter();
    }
    sooner(member_.next_beat());
}

void fetcher::read_notifications() {
    std::vector<std::string> queues;
    session_->read_notifications(queues);
    for (const auto& queue : queues) {
        if (subscription_.takes(queue))
            schedule_.look_now();
    }
}

bool fetcher::backlogged() const {
    const auto delivered = around_.reports.delivered();
    return delivered < deliver_first_ || around_.reports.accepted() - delivered > most_undelivered;
}

bool fetcher::quiet(const buffer::level& level) const {
    return level.busy == 0 && level.waiting == 0 && around_.reports.accepted() == around_.reports.delivered();
}

void fetcher::fetch() {
    const auto now = std::chrono::steady_clock::now();
    const auto level = around_.ahead.state();
    const auto ahead = prefetch_.observe(now, level.started - level.busy);
    give_back_if_stalled(level);
    if (options_.exit_when_empty) {
        if (quiet(level))
            schedule_.look_now();
        sooner(now + recheck_when_emptying);
    }
    if (backlogged())
        return; // the reporter wakes us
    if (schedule_.should_look(now)) {
        const auto room = around_.ahead.room(static_cast<std::size_t>(options_.max_threads), ahead);
        if (room == 0)
            return; // the buffer wakes us
        check_out(std::min(room, largest_checkout), level);
    } else if (schedule_.should_ask_next_due(now)) {
        schedule_.next_due(now, protocol::next_due(*session_, member_.id()));
    }
    sooner(schedule_.wake_at().value_or(now));
}

void fetcher::check_out(std::size_t room, const buffer::level& before) {
    const bool was_quiet = quiet(before);
    auto rows = protocol::checkout(*session_, member_.id(), static_cast<int>(room));
    const auto got = static_cast<std::size_t>(rows.rows());
    schedule_.looked(std::chrono::steady_clock::now(), room, got);
    if (got > 0)
        around_.ahead.push(around_.jobs.add(std::make_unique<batch>(std::move(rows), member_.id())));
    else if (was_quiet && options_.exit_when_empty)
        begin_drain("empty");
}

void fetcher::give_back_if_stalled(const buffer::level& level) {
    const auto now = std::chrono::steady_clock::now();
    if (level.started != started_ || level.waiting == 0) {
        started_ = level.started;
        progress_at_ = now;
    }
    if (level.waiting == 0)
        return;
    if (now - progress_at_ < stalled)
        return sooner(progress_at_ + stalled);
    const auto unstarted = around_.ahead.withdraw();
    around_.log.info("event=given_back reason=stalled jobs={}", unstarted.size());
    release(unstarted);
}

// Gives back, uncharged, jobs that no thread has taken. What the server does not hear of now it learns when
// the worker reconciles, or leaves.
void fetcher::release(const std::vector<job*>& unstarted) {
    claims jobs;
    for (auto* job : unstarted) {
        jobs.add(*job);
        job->settle();
    }
    if (!unstarted.empty() && session_)
        protocol::release(*session_, member_.id(), jobs, false);
}

void fetcher::begin_drain(const char* reason) {
    const auto level = around_.ahead.state();
    around_.log.info("event=draining reason={} running={} buffered={}", reason, level.busy, level.waiting);
    phase_ = phase::draining;
    drain_.begin(std::chrono::steady_clock::now());
    const auto unstarted = around_.ahead.withdraw();
    around_.ahead.close();
    release(unstarted);
    if (session_)
        member_.beat(*session_, around_.ahead.state().busy, true);
}

void fetcher::continue_drain() {
    const auto now = std::chrono::steady_clock::now();
    drain_.kill(now, kill_requested_);
    const auto level = drain_.level(now);
    if (level != cancellation::level::none)
        around_.threads.cancel(level);

    const bool threads_ended = around_.threads.size() == 0;
    const bool delivered = around_.reports.accepted() == around_.reports.delivered();
    if (threads_ended && delivered) {
        if (session_ || member_.id() == 0)
            return end();
        drain_.only_database_missing(now);
    }
    if (drain_.give_up(now)) {
        if (threads_ended || drain_.may_abandon()) {
            abandoned_ = !threads_ended;
            around_.log.warn("event=given_up running={} unreported={}", around_.threads.size(),
                             around_.reports.accepted() - around_.reports.delivered());
            return end();
        }
        // A thread may wait for an answer that a missing database will not give.
        if (!session_)
            around_.interrupt.set();
    }
    if (const auto time = drain_.wake_at(now); time && *time > now)
        sooner(*time);
}

// Deletes the row, which also releases what was given up.
void fetcher::end() {
    const bool last_try = drain_.give_up(std::chrono::steady_clock::now());
    try {
        if (session_ && !last_try)
            member_.maintain(*session_); // settles the books: fewer leases to look at
        if (session_)
            member_.leave(*session_);
    } catch (const std::exception& failure) {
        if (!last_try)
            throw;
        around_.log.warn("event=not_unregistered worker_id={} message={}", member_.id(),
                         log_value(failure.what()));
    }
    phase_ = phase::ended;
}

} // namespace haul::core
