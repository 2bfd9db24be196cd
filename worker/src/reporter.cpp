#include "reporter.hpp"

#include "haul/error.hpp"
#include "pause.hpp"
#include "protocol.hpp"
#include "text.hpp"

#include <algorithm>
#include <poll.h>
#include <pthread.h>
#include <set>
#include <string>

namespace haul::core {

namespace {

// Of one call: reports, and bytes of results. PostgreSQL takes no message of more than 1 GB.
constexpr std::size_t largest_call = 5000;
constexpr std::size_t heaviest_call = std::size_t{64} << 20;

// A batch of this size means load: then it pays to wait a moment for more.
constexpr std::size_t load = 64;
constexpr std::size_t worth_a_call = 500;
constexpr std::chrono::milliseconds longest_wait{2};

// Errors that blame what was sent, or come from a trigger of somebody's that refuses it: sending it again
// would fail again. By the class of the SQLSTATE.
bool blames_data(const error& failure) {
    static const std::set<std::string> classes{"09", "21", "22", "23", "27", "38", "39", "44", "54", "P0"};
    return classes.count(failure.sqlstate().substr(0, 2)) > 0;
}

std::size_t weight(const ending& how) {
    const auto* done = std::get_if<completed>(&how);
    return done ? done->result.size() : 0;
}

} // namespace

reporter::reporter(connect_function connect, event& settled, const event& interrupt, spdlog::logger& log)
    : connect_{std::move(connect)}, settled_{settled}, interrupt_{interrupt}, log_{log} {}

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
        confirmations_.push_back({&what, {}});
        answer = confirmations_.back().answer.get_future();
        wake_.set();
    }
    return answer.get();
}

// Returns false when there is none and there will be none.
bool reporter::wait_for_work() {
    std::optional<steady_time> until;
    std::size_t enough = 1;
    if (last_batch_ >= load) {
        until = std::chrono::steady_clock::now() + longest_wait;
        enough = worth_a_call;
    }
    for (;;) {
        {
            const std::lock_guard lock{mutex_};
            wake_.clear();
            const bool due = !until || std::chrono::steady_clock::now() >= *until;
            if (reports_.size() >= enough || (due && !reports_.empty()) || !confirmations_.empty() ||
                !progress_.empty())
                return true;
            if (finishing_)
                return !reports_.empty();
            if (due) { // the load is over
                until.reset();
                enough = 1;
            }
            wake_at_ = enough;
        }
        wait_for(interrupt_.descriptor(), POLLIN, wake_, until);
        if (interrupt_.is_set())
            throw interrupted_error{"the worker ends"};
    }
}

void reporter::take(work& into) {
    const std::lock_guard lock{mutex_};
    wake_at_ = 0;
    into.reports.clear();
    into.delivered = 0;
    into.reports.swap(reports_);
    into.confirmations.swap(confirmations_);
    into.progress.swap(progress_);
}

void reporter::run() noexcept {
    pthread_setname_np(pthread_self(), "haul-report");
    reconnect_pause pause;
    work current;
    bool away = false;
    try {
        while (wait_for_work()) {
            take(current);
            last_batch_ = current.reports.size();
            // Mostly all have ended in the same way.
            if (!std::is_sorted(current.reports.begin(), current.reports.end(), report_order))
                std::stable_sort(current.reports.begin(), current.reports.end(), report_order);
            for (;;) {
                try {
                    if (!session_) {
                        session_.emplace(connect_());
                        pause.succeeded(std::chrono::steady_clock::now());
                        log_.info("event=connected connection=report");
                    }
                    deliver(current);
                    away = false;
                    break;
                } catch (const interrupted_error&) {
                    throw;
                } catch (const std::exception& failure) {
                    if (!away)
                        log_.warn("event=connection_lost connection=report unreported={} message={}",
                                  current.reports.size() - current.delivered, log_value(failure.what()));
                    away = true;
                    session_.reset();
                    in_doubt_ = true;
                    interrupt_.wait_until(std::chrono::steady_clock::now() +
                                          pause.next(std::chrono::steady_clock::now()));
                    if (interrupt_.is_set())
                        throw interrupted_error{"the worker ends"};
                }
            }
        }
    } catch (const std::exception& failure) {
        if (accepted() != delivered())
            log_.error("event=reports_given_up unreported={} message={}", accepted() - delivered(),
                       log_value(failure.what()));
    }
    give_up(current);
}

// Nobody may be left waiting for an answer.
void reporter::give_up(work& what) {
    const std::lock_guard lock{mutex_};
    for (auto* list : {&what.confirmations, &confirmations_}) {
        for (auto& one : *list)
            one.answer.set_value(false);
        list->clear();
    }
}

void reporter::deliver(work& what) {
    confirm(what);
    send_progress(what);
    send_reports(what);
    in_doubt_ = false;
}

void reporter::confirm(work& what) {
    auto& open = what.confirmations;
    while (!open.empty()) {
        // Those of one registration at a time; there is seldom another.
        const auto worker = open.front().what->worker_id();
        const auto rest = std::stable_partition(
            open.begin(), open.end(), [&](const auto& one) { return one.what->worker_id() == worker; });
        claims jobs;
        std::for_each(open.begin(), rest, [&](const auto& one) { jobs.add(*one.what); });
        const auto lost = protocol::start(*session_, worker, jobs);
        std::for_each(open.begin(), rest, [&](auto& one) {
            one.answer.set_value(std::find(lost.begin(), lost.end(), one.what->id()) == lost.end());
        });
        open.erase(open.begin(), rest);
        log_not_owned(lost, "start");
    }
}

void reporter::send_progress(work& what) {
    while (!what.progress.empty()) {
        const auto& [token, value] = *what.progress.begin();
        try {
            protocol::progress(*session_, value.worker_id, token.first, token.second, value.json);
        } catch (const error& failure) {
            if (!blames_data(failure))
                throw;
            log_.warn("event=progress_refused job={} message={}", token.first, log_value(failure.what()));
        }
        what.progress.erase(what.progress.begin());
    }
}

void reporter::send_reports(work& what) {
    while (what.delivered < what.reports.size()) {
        const std::size_t sent = send_front(what);
        for (std::size_t i = 0; i < sent; ++i)
            what.reports[what.delivered + i].what->settle();
        what.delivered += sent;
        delivered_.fetch_add(sent);
        settled_.set();
    }
}

// Sends the first call of what is left; returns how many reports it carried.
std::size_t reporter::send_front(work& what) {
    auto* first = &what.reports[what.delivered];
    const auto most = std::min(largest_call, what.reports.size() - what.delivered);
    std::size_t count = 1;
    std::size_t bytes = weight(first->how);
    while (count < most && belong_together(*first, first[count]) &&
           (bytes += weight(first[count].how)) <= heaviest_call)
        ++count;
    send_range(first, count);
    return count;
}

void reporter::send_range(core::report* first, std::size_t count) {
    if (count == 1)
        return send_alone(*first);
    try {
        log_not_owned(send(*session_, {first, first + count}), call_name(*first));
    } catch (const error& failure) {
        if (!blames_data(failure))
            throw;
        // One of them is at fault, and must not keep the others.
        send_range(first, count / 2);
        send_range(first + count / 2, count - count / 2);
    }
}

void reporter::send_alone(core::report& what) {
    for (bool replaced = false;; replaced = true) {
        try {
            log_not_owned(send(*session_, {&what, &what + 1}), call_name(what));
            return;
        } catch (const error& failure) {
            if (!blames_data(failure))
                throw;
            log_.warn("event=report_refused job={} call={} message={}", what.what->id(), call_name(what),
                      log_value(failure.what()));
            if (replaced)
                return;
            what.how = retry{std::string{"the server refused the outcome \""} + call_name(what) +
                             "\": " + failure.what()};
        }
    }
}

void reporter::log_not_owned(const std::vector<std::int64_t>& ids, const char* call) const {
    for (const auto id : ids)
        log_.log(in_doubt_ ? spdlog::level::info : spdlog::level::warn,
                 "event=not_owned job={} call={} in_doubt={}", id, call, in_doubt_);
}

} // namespace haul::core
