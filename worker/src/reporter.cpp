#include "reporter.hpp"

#include "haul/error.hpp"
#include "protocol.hpp"
#include "replacement.hpp"
#include "text.hpp"

#include <algorithm>
#include <poll.h>
#include <pthread.h>
#include <string_view>

namespace haul::core {

namespace {

// Of one call: reports, and bytes of results. PostgreSQL takes no message of more than 1 GB.
constexpr std::size_t largest_call = 5000;
constexpr std::size_t heaviest_call = std::size_t{64} << 20;

// A batch of this size means load: then it pays to wait a moment for more.
constexpr std::size_t load = 64;
constexpr std::size_t worth_a_call = 500;
constexpr std::chrono::milliseconds longest_wait{2};

// So many calls for one job each, refused one after the other: then it is not these jobs.
constexpr int enough_refusals = 3;

std::size_t weight(const ending& how) {
    const auto* done = std::get_if<completed>(&how);
    return done ? done->result.size() : 0;
}

} // namespace

reporter::reporter(connect_function connect, event& settled, const event& interrupt,
                   std::chrono::milliseconds patience, spdlog::logger& log)
    : connect_{std::move(connect)},
      settled_{settled},
      interrupt_{interrupt},
      patience_{patience},
      log_{log},
      most_{largest_call} {}

reporter::~reporter() {
    finish();
}

void reporter::start() {
    session_.emplace(connect_());
    thread_ = std::thread{[this] { run(); }};
}

void reporter::finish() noexcept {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock{mutex_};
        finishing_ = true;
        wake_.set();
    }
    thread_.join();
}

void reporter::report(job& what, ending how) {
    if (std::holds_alternative<settled>(how)) {
        what.settle();
        return;
    }
    accepted_.fetch_add(1);
    const std::lock_guard lock{mutex_};
    reports_.push_back({&what, std::move(how)});
    if (wake_at_ != 0 && reports_.size() >= wake_at_) {
        wake_at_ = 0;
        wake_.set();
    }
}

void reporter::progress(const job& what, std::string json) {
    const std::lock_guard lock{mutex_};
    progress_[{what.id(), what.claim()}] = {what.worker_id(), std::move(json)};
    wake_.set();
}

bool reporter::confirm_start(job& what) {
    std::future<bool> answer;
    {
        const std::lock_guard lock{mutex_};
        if (!confirms_)
            return false;
        confirmations_.push_back({&what, {}});
        answer = confirmations_.back().answer.get_future();
        wake_.set();
    }
    return answer.get();
}

std::chrono::milliseconds reporter::refused(const job& what, const error& failure) {
    const std::lock_guard lock{mutex_};
    if (refused_handlers_.happened(std::chrono::steady_clock::now()))
        log_.warn("event=refused connection=job job={} sqlstate={} message={} hint={}", what.id(),
                  failure.sqlstate(), log_value(failure.what()), log_value(advice(failure)));
    count_patience(failure, refused_handlers_);
    return std::max<std::chrono::milliseconds>(refused_handlers_.pause(), std::chrono::seconds{1});
}

void reporter::confirm_no_more() {
    const std::lock_guard lock{mutex_};
    confirms_ = false;
    for (auto& one : confirmations_)
        one.answer.set_value(false);
    confirmations_.clear();
}

// Returns false when there is none and there will be none.
bool reporter::wait_for_work(const work& left) {
    std::optional<steady_time> until;
    std::size_t enough = 1;
    if (last_batch_ >= load) {
        until = std::chrono::steady_clock::now() + longest_wait;
        enough = worth_a_call;
    }
    for (;;) {
        const auto now = std::chrono::steady_clock::now();
        std::optional<steady_time> wake_at;
        {
            const std::lock_guard lock{mutex_};
            wake_.clear();
            if (now < resume_at_) {
                wake_at = resume_at_;
            } else {
                const bool due = !until || now >= *until;
                const bool asked =
                    !confirmations_.empty() || !left.progress.empty() || !left.postponed.empty();
                if (left.sent < left.reports.size() || (asked && now >= retry_at_) || !progress_.empty() ||
                    reports_.size() >= enough || (due && !reports_.empty()))
                    return true;
                if (finishing_)
                    return !reports_.empty();
                if (due) { // the load is over
                    until.reset();
                    enough = 1;
                }
                wake_at = until;
                if (asked)
                    wake_at = until ? std::min(*until, retry_at_) : retry_at_;
                wake_at_ = enough;
            }
        }
        wait_for(interrupt_.descriptor(), POLLIN, wake_, wake_at);
        if (interrupt_.is_set())
            throw interrupted_error{"the worker ends"};
    }
}

void reporter::take(work& into) {
    const auto append = [&](std::vector<core::report>& from) {
        into.reports.insert(into.reports.end(), std::make_move_iterator(from.begin()),
                            std::make_move_iterator(from.end()));
        from.clear();
    };
    into.reports.erase(into.reports.begin(), into.reports.begin() + static_cast<std::ptrdiff_t>(into.sent));
    into.sent = 0;
    if (std::chrono::steady_clock::now() >= retry_at_) {
        postponed_.fetch_sub(into.postponed.size());
        append(into.postponed);
    }
    {
        const std::lock_guard lock{mutex_};
        wake_at_ = 0;
        if (into.reports.empty())
            into.reports.swap(reports_);
        else
            append(reports_);
        for (auto& [token, value] : progress_)
            into.progress[token] = std::move(value);
        progress_.clear();
    }
    last_batch_ = into.reports.size();
    // Mostly all have ended in the same way.
    if (!std::is_sorted(into.reports.begin(), into.reports.end(), report_order))
        std::stable_sort(into.reports.begin(), into.reports.end(), report_order);
}

void reporter::run() noexcept {
    pthread_setname_np(pthread_self(), "haul-report");
    try {
        work current;
        while (wait_for_work(current)) {
            take(current);
            attempt(current);
        }
    } catch (const std::exception& failure) {
        if (accepted() != delivered())
            log_.error("event=reports_given_up unreported={} message={}", accepted() - delivered(),
                       log_value(failure.what()));
    }
    confirm_no_more(); // nobody may be left waiting for an answer
}

void reporter::attempt(work& what) {
    round_ = {};
    try {
        if (!session_)
            connect();
        confirm();
        send_progress(what);
        send_reports(what);
        in_doubt_ = false;
    } catch (const interrupted_error&) {
        throw;
    } catch (const std::exception& failure) {
        return lost(failure, what);
    }
    if (round_.refusal)
        refused(what);
    else
        succeeded();
}

void reporter::connect() {
    session_.emplace(connect_());
    pause_.succeeded(std::chrono::steady_clock::now());
    log_.info("event=connected connection=report");
}

void reporter::succeeded() {
    away_.over();
    refused_.over();
    if (stuck_.exchange(false))
        settled_.set();
}

// Half a conversation is of no use either, so whatever breaks one off costs the connection.
void reporter::lost(const std::exception& failure, const work& left) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = pause_.next(now);
    session_.reset();
    in_doubt_ = true;
    resume_at_ = now + pause;
    if (away_.happened(now))
        log_.warn("event=connection_lost connection=report unreported={} for_ms={} pause_ms={} message={}",
                  left.reports.size() - left.sent + left.postponed.size(), away_.age(now).count(),
                  pause.count(), log_value(failure.what()));
    if (const auto* told = dynamic_cast<const error*>(&failure))
        count_patience(*told, away_);
    if (!stuck_.exchange(true))
        settled_.set();
}

// The connection is good, and what is left waits: all of it, or, when the server took something, what it
// refused.
void reporter::refused(const work& left) {
    const auto now = std::chrono::steady_clock::now();
    away_.over();
    if (refused_.happened(now))
        log_.warn("event=refused connection=report unreported={} at_a_time={} for_ms={} sqlstate={} "
                  "message={} hint={}",
                  left.reports.size() - left.sent + left.postponed.size(), most_, refused_.age(now).count(),
                  round_.refusal->sqlstate(), log_value(round_.refusal->what()),
                  log_value(advice(*round_.refusal)));
    retry_at_ = now + refused_.pause();
    if (!round_.any_accepted)
        resume_at_ = retry_at_;
    count_patience(*round_.refusal, refused_);
    if (stuck_.exchange(!round_.any_accepted) == round_.any_accepted)
        settled_.set();
}

void reporter::count_patience(const error& failure, const trouble& since) {
    if (fault_of(failure) != fault::setup)
        return;
    if (!shows_pooler(failure) && since.age(std::chrono::steady_clock::now()) < patience_)
        return;
    if (hopeless_.exchange(true))
        return;
    log_.error("event=hopeless sqlstate={} message={} hint={}", failure.sqlstate(), log_value(failure.what()),
               log_value(advice(failure)));
    settled_.set();
}

template <typename Call>
std::optional<error> reporter::refusal_of(Call&& call) {
    try {
        call();
        round_.any_accepted = true;
        return std::nullopt;
    } catch (const connection_error&) {
        throw;
    } catch (const interrupted_error&) {
        throw;
    } catch (const error& failure) {
        return failure;
    }
}

void reporter::confirm() {
    for (;;) {
        // Those of one registration at a time; there is seldom another.
        std::int64_t worker = 0;
        claims asked;
        {
            const std::lock_guard lock{mutex_};
            for (const auto& one : confirmations_) {
                if (asked.ids.empty())
                    worker = one.what->worker_id();
                if (one.what->worker_id() == worker)
                    asked.add(*one.what);
            }
        }
        if (asked.ids.empty())
            return;
        std::vector<std::int64_t> lost;
        round_.refusal = refusal_of([&] { lost = protocol::start(*session_, worker, asked); });
        if (round_.refusal)
            return;
        answer(asked, lost);
        log_not_owned(lost, "start");
    }
}

void reporter::answer(const claims& asked, const std::vector<std::int64_t>& not_owned) {
    const auto holds = [](const auto& list, std::int64_t id) {
        return std::find(list.begin(), list.end(), id) != list.end();
    };
    const std::lock_guard lock{mutex_};
    const auto rest =
        std::stable_partition(confirmations_.begin(), confirmations_.end(),
                              [&](const auto& one) { return !holds(asked.ids, one.what->id()); });
    std::for_each(rest, confirmations_.end(),
                  [&](auto& one) { one.answer.set_value(!holds(not_owned, one.what->id())); });
    confirmations_.erase(rest, confirmations_.end());
}

// It is of some use only while the job runs, and no reason to stop anything: what would be refused again is
// dropped.
void reporter::send_progress(work& what) {
    while (!what.progress.empty()) {
        const auto& [token, value] = *what.progress.begin();
        const auto refusal = refusal_of([&, &token = token, &value = value] {
            protocol::progress(*session_, value.worker_id, token.first, token.second, value.json);
        });
        if (refusal && fault_of(*refusal) == fault::server) {
            round_.refusal = refusal;
            return;
        }
        if (!refusal)
            progress_refused_.over();
        else if (progress_refused_.happened(std::chrono::steady_clock::now()))
            log_.warn("event=progress_refused job={} sqlstate={} message={} hint={}", token.first,
                      refusal->sqlstate(), log_value(refusal->what()), log_value(advice(*refusal)));
        what.progress.erase(what.progress.begin());
    }
}

// A call that is refused is made again with half of its reports, down to the one at fault, or to none that
// the server would take; with each that it takes, the next may be twice as large.
void reporter::send_reports(work& what) {
    int in_a_row = 0;
    while (what.sent < what.reports.size()) {
        auto* first = &what.reports[what.sent];
        const auto count = front_size(what);
        const auto refusal = refusal_of([&] {
            log_not_owned(send(*session_, {first, first + count}), call_name(*first));
        });
        if (!refusal) {
            accepted_at_[first->how.index()] = std::chrono::steady_clock::now();
            settle_front(what, count);
            most_ = std::min(2 * most_, largest_call);
            in_a_row = 0;
            continue;
        }
        if (count > 1) {
            most_ = count / 2;
            continue;
        }
        const auto now = std::chrono::steady_clock::now();
        if (!first->refused_since)
            first->refused_since = now;
        // One that is refused for so long while others of its kind are not must be at fault itself.
        const bool at_fault =
            fault_of(*refusal) == fault::data || (now - *first->refused_since >= patience_ &&
                                                  accepted_at_[first->how.index()] > *first->refused_since);
        if (at_fault && send_replaced(*first, *refusal)) {
            settle_front(what, 1);
            continue;
        }
        round_.refusal = *refusal;
        if (++in_a_row < enough_refusals) {
            postpone_front(what, 1);
            continue;
        }
        in_a_row = 0;
        const auto rest =
            std::find_if(first, what.reports.data() + what.reports.size(), [&](const auto& one) {
                return std::string_view{call_name(one)} != call_name(*first);
            });
        postpone_front(what, static_cast<std::size_t>(rest - first));
    }
}

// How many of the reports that are left the next call carries.
std::size_t reporter::front_size(const work& what) const {
    const auto* first = &what.reports[what.sent];
    const auto most = std::min(most_, what.reports.size() - what.sent);
    std::size_t count = 1;
    std::size_t bytes = weight(first->how);
    while (count < most && belong_together(*first, first[count]) &&
           (bytes += weight(first[count].how)) <= heaviest_call)
        ++count;
    return count;
}

void reporter::settle_front(work& what, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        what.reports[what.sent + i].what->settle();
    what.sent += count;
    delivered_.fetch_add(count);
    settled_.set();
}

void reporter::postpone_front(work& what, std::size_t count) {
    const auto first = what.reports.begin() + static_cast<std::ptrdiff_t>(what.sent);
    what.postponed.insert(what.postponed.end(), std::make_move_iterator(first),
                          std::make_move_iterator(first + static_cast<std::ptrdiff_t>(count)));
    what.sent += count;
    postponed_.fetch_add(count);
    settled_.set();
}

// Returns whether the server knows, now, how the job ended, or never will.
bool reporter::send_replaced(core::report& what, const error& refusal) {
    log_.warn("event=report_refused job={} call={} sqlstate={} message={}", what.what->id(), call_name(what),
              refusal.sqlstate(), log_value(refusal.what()));
    for (auto& how : replacements(what.how, refusal.what())) {
        what.how = std::move(how);
        const auto again = refusal_of([&] {
            log_not_owned(send(*session_, {&what, &what + 1}), call_name(what));
        });
        if (!again)
            return true;
        if (fault_of(*again) != fault::data)
            return false;
    }
    log_.error("event=report_dropped job={} message={}", what.what->id(),
               log_value("the server refuses every outcome: the job stays running until the worker ends"));
    return true;
}

void reporter::log_not_owned(const std::vector<std::int64_t>& ids, const char* call) const {
    for (const auto id : ids)
        log_.log(in_doubt_ ? spdlog::level::info : spdlog::level::warn,
                 "event=not_owned job={} call={} in_doubt={}", id, call, in_doubt_);
}

} // namespace haul::core
