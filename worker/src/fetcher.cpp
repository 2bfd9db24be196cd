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

// A backend whose connection is lost ends the checkout that it has already read within this time.
constexpr std::chrono::seconds late_claims{1};

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
      long_poll_{around.wake},
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

void fetcher::enter(session first) {
    session_.emplace(std::move(first));
    member_.enter(*session_);
    listen();
    const auto now = std::chrono::steady_clock::now();
    pause_.succeeded(now);
    progress_at_ = now;
    if (options_.exit_after)
        exit_at_ = now + *options_.exit_after;
}

void fetcher::leave() noexcept {
    try {
        member_.leave(*session_);
    } catch (const std::exception& failure) {
        around_.log.warn("event=not_unregistered worker_id={} message={}", member_.id(),
                         log_value(failure.what()));
    }
}

void fetcher::run() noexcept {
    pthread_setname_np(pthread_self(), "haul-fetch");
    while (phase_ != phase::ended) {
        bool again = false;
        try {
            around_.wake.clear();
            wake_at_.reset();
            try {
                step();
            } catch (const unknown_worker&) {
                reenter();
                again = true;
            }
        } catch (const connection_error& failure) {
            lost(failure);
        } catch (const interrupted_error& failure) {
            lost(failure);
        } catch (const error& failure) {
            refused(failure);
        } catch (const std::exception& failure) {
            lost(failure);
        }
        if (again)
            continue;
        if (phase_ != phase::ended &&
            !(phase_ == phase::working && stop_requested_ && !long_poll_.outstanding()))
            wait();
    }
}

void fetcher::wait() {
    // While a call is being cancelled that has its answer, nothing is read.
    const int socket = session_ && !long_poll_.settling() ? session_->socket() : -1;
    if (!session_)
        sooner(reconnect_at_);
    wait_for(socket, POLLIN, around_.wake, wake_at_);
}

void fetcher::sooner(steady_time time) {
    wake_at_ = wake_at_ ? std::min(*wake_at_, time) : time;
}

void fetcher::step() {
    const auto now = std::chrono::steady_clock::now();
    if (long_poll_.outstanding())
        read_answer();
    if (phase_ == phase::working)
        consider_end(now);
    // Before anything that needs the database, which may be away.
    if (phase_ == phase::draining) {
        continue_drain();
        if (phase_ == phase::ended)
            return;
    }
    if (!session_ && now >= reconnect_at_)
        reconnect();
    if (session_ && !long_poll_.outstanding()) {
        session_->read();
        take_notifications();
        heartbeat();
    }
    if (session_ && now < resume_at_) {
        sooner(resume_at_);
    } else if (session_ && !long_poll_.outstanding()) {
        look_after_jobs();
        look_after_others();
        reconcile();
        if (phase_ == phase::working)
            fetch();
        // Some may have come along with the rows of a statement: the socket tells nothing of them any more.
        if (take_notifications())
            sooner(now);
    }
    if (phase_ == phase::working) {
        around_.threads.adapt();
        wait_in_server();
    } else if (phase_ == phase::draining) {
        continue_drain();
    }
}

// On the worker's own channel; where the server cannot tell it there, on the one on which enqueuers notify
// all. Before the first checkout: jobs that become ready after that are then told of.
void fetcher::listen() {
    if (options_.wait != wait_mode::listen)
        return;
    const std::string channel =
        protocol::is_preloaded(*session_) ? "haul_worker_" + std::to_string(member_.id()) : "haul";
    session_->execute("UNLISTEN *; LISTEN " + channel);
}

void fetcher::reconnect() {
    session_.emplace(connect_());
    pause_.succeeded(std::chrono::steady_clock::now());
    around_.log.info("event=connected connection=fetch");
    try {
        const bool known = member_.beat(*session_, around_.ahead.state().busy, phase_ == phase::draining);
        if (!known) {
            reenter();
        } else {
            listen();
            member_.reconcile(*session_, around_.jobs.snapshot());
            member_.adapt(*session_);
        }
    } catch (const std::exception&) { // all of it, or none
        session_.reset();
        throw;
    }
    away_.over();
    deliver_first_ = around_.reports.accepted();
    schedule_.look_now();
}

void fetcher::lost(const std::exception& failure) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = pause_.next(now);
    // The server may not know, and hand out jobs to a call that was under way.
    if (long_poll_.outstanding())
        reconcile_at_ = long_poll_.forget();
    else if (session_)
        reconcile_at_ = std::max(reconcile_at_.value_or(now), now + late_claims);
    session_.reset();
    reconnect_at_ = now + pause;
    if (away_.happened(now))
        around_.log.warn("event=connection_lost connection=fetch for_ms={} pause_ms={} message={}",
                         away_.age(now).count(), pause.count(), log_value(failure.what()));
    if (const auto* told = dynamic_cast<const error*>(&failure))
        count_patience(*told, away_);
}

// The connection is good, but the server did not do what it was asked for.
void fetcher::refused(const error& failure) {
    const auto now = std::chrono::steady_clock::now();
    if (refused_.happened(now))
        around_.log.warn("event=refused connection=fetch for_ms={} sqlstate={} message={} hint={}",
                         refused_.age(now).count(), failure.sqlstate(), log_value(failure.what()),
                         log_value(advice(failure)));
    resume_at_ = reconnect_at_ = now + refused_.pause();
    reconcile_at_ = resume_at_; // it may have been a release
    if (session_ && session_->is_standby())
        session_.reset(); // the primary may be elsewhere
    count_patience(failure, refused_);
    sooner(hopeless_ ? now : resume_at_);
}

void fetcher::count_patience(const error& failure, const trouble& since) {
    if (hopeless_ || fault_of(failure) != fault::setup)
        return;
    if (!shows_pooler(failure) && since.age(std::chrono::steady_clock::now()) < options_.refusal_timeout)
        return;
    hopeless_ = true;
    around_.log.error("event=hopeless sqlstate={} message={} hint={}", failure.sqlstate(),
                      log_value(failure.what()), log_value(advice(failure)));
}

// The row is gone, and with it everything that was ours.
void fetcher::reenter() {
    const auto dropped = around_.ahead.withdraw();
    around_.log.warn("event=registration_lost worker_id={} dropped={}", member_.id(), dropped.size());
    for (auto* job : dropped)
        job->settle();
    around_.threads.cancel(cancellation::level::job);
    reconcile_at_.reset();
    if (phase_ == phase::working) {
        member_.enter(*session_);
        listen();
    } else {
        member_.forget();
    }
    schedule_.look_now();
}

void fetcher::heartbeat() {
    if (member_.id() == 0)
        return; // draining, and the row is gone
    if (std::chrono::steady_clock::now() >= member_.next_beat()) {
        if (!member_.beat(*session_, around_.ahead.state().busy, phase_ == phase::draining))
            reenter();
        jobs_are_due_ = true;
    }
    sooner(member_.next_beat());
}

// Once a heartbeat, as far as there is anything that runs for so long: an operator may have deleted a job or
// given it back, or others have taken over while we were cut off.
void fetcher::look_after_jobs() {
    if (!jobs_are_due_)
        return;
    const auto running = around_.threads.running_since_last_look(member_.id());
    if (!running.ids.empty()) {
        for (const auto id :
             around_.threads.cancel(protocol::not_owned(*session_, member_.id(), running)).ids)
            around_.log.warn(
                "event=job_lost job={} message=\"it is not the worker's any more, and is told to "
                "stop\"",
                id);
    }
    jobs_are_due_ = false;
}

void fetcher::look_after_others() {
    member_.look_after_others(*session_);
    sooner(member_.next_look());
}

void fetcher::reconcile() {
    if (!reconcile_at_)
        return;
    if (std::chrono::steady_clock::now() < *reconcile_at_)
        return sooner(*reconcile_at_);
    member_.reconcile(*session_, around_.jobs.snapshot());
    reconcile_at_.reset();
}

bool fetcher::take_notifications() {
    bool concerned = false;
    for (const auto& queue : session_->notifications()) {
        // A call on the worker's own channel names no queue, nor does one that is about any.
        concerned = concerned || queue.empty() || subscription_.takes(queue);
    }
    if (concerned)
        schedule_.look_now();
    return concerned;
}

bool fetcher::backlogged() const {
    return around_.reports.tried() < deliver_first_ ||
           around_.reports.accepted() - around_.reports.delivered() > most_undelivered;
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
    took(std::move(rows), room);
    if (got != 0 || !was_quiet || !options_.exit_when_empty)
        return;
    // A checkout may leave what is due to the next one.
    const auto due = protocol::next_due(*session_, member_.id());
    if (!due || due->count() > 0)
        begin_drain("empty");
}

void fetcher::took(result rows, std::size_t asked) {
    const auto now = std::chrono::steady_clock::now();
    const auto got = static_cast<std::size_t>(rows.rows());
    schedule_.looked(now, asked, got);
    if (options_.wait == wait_mode::call)
        schedule_.next_due(now, std::nullopt); // the call sees to it
    if (got == 0)
        return;
    progress_at_ = now;
    around_.ahead.push(
        around_.jobs.add(std::make_unique<batch>(std::move(rows), member_.id(), session_->is_converted())));
}

// When the last look found less than it asked for and a thread is idle, sleeps there rather than here, until
// a job comes or something else is to be done.
void fetcher::wait_in_server() {
    if (options_.wait != wait_mode::call || !session_ || long_poll_.outstanding())
        return;
    const auto now = std::chrono::steady_clock::now();
    if (schedule_.should_look(now) || backlogged() || now < resume_at_ || wake_at_ <= now)
        return;
    const auto room = around_.ahead.room(static_cast<std::size_t>(options_.max_threads), 0);
    if (room == 0)
        return; // the buffer wakes us
    long_poll_.begin(*session_, member_.id(), std::min(room, largest_checkout),
                     std::chrono::duration_cast<std::chrono::microseconds>(*wake_at_ - now));
}

// Whatever a cancelled call has handed out is given back.
void fetcher::read_answer() {
    auto jobs = long_poll_.answer(*session_);
    if (long_poll_.outstanding())
        sooner(long_poll_.overdue_at());
    else if (jobs)
        took(std::move(*jobs), long_poll_.max_jobs());
    else
        member_.reconcile(*session_, around_.jobs.snapshot());
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

void fetcher::consider_end(steady_time now) {
    const char* reason = stop_requested_                ? "stop"
                         : exit_at_ && now >= *exit_at_ ? "exit_after"
                         : hopeless()                   ? "hopeless"
                                                        : nullptr;
    if (!reason) {
        if (exit_at_)
            sooner(*exit_at_);
    } else if (long_poll_.outstanding()) {
        long_poll_.cancel(*session_);
        sooner(long_poll_.overdue_at());
    } else {
        begin_drain(reason);
    }
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
    const auto unreported = around_.reports.accepted() - around_.reports.delivered();
    if (threads_ended && unreported == 0 && (session_ || member_.id() == 0) && now >= resume_at_)
        return end();
    if (!threads_ended && around_.reports.stuck())
        around_.reports.confirm_no_more(); // a thread would wait for an answer that does not come
    drain_.only_database_missing(
        threads_ended && (unreported == 0 || around_.reports.stuck() || around_.reports.hopeless()), now);
    if (drain_.give_up(now) && (threads_ended || drain_.may_abandon())) {
        abandoned_ = !threads_ended;
        around_.log.warn("event=given_up running={} unreported={} message={}", around_.threads.size(),
                         unreported, log_value("what runs and what is unreported will run again"));
        return end();
    }
    if (const auto time = drain_.wake_at(now); time && *time > now)
        sooner(*time);
}

// Deletes the row, which also releases what was given up.
void fetcher::end() {
    const bool last_try = drain_.give_up(std::chrono::steady_clock::now()) || hopeless();
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
