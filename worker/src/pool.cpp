#include "pool.hpp"

#include "text.hpp"

#include <algorithm>
#include <pthread.h>

namespace haul::core {

namespace {

// Between two tries to start a thread that the system refused.
constexpr std::chrono::seconds after_refusal{1};

} // namespace

pool::pool(buffer& jobs, const limits& bounds, executor_factory make_executor, event& ended,
           spdlog::logger& log)
    : jobs_{jobs}, bounds_{bounds}, make_executor_{std::move(make_executor)}, ended_{ended}, log_{log} {}

pool::~pool() {
    jobs_.close();
    join();
}

void pool::adapt() {
    const auto level = jobs_.state();
    const std::lock_guard lock{mutex_};
    if (joining_)
        return;
    reap();
    start_up_to(std::clamp(level.busy + level.waiting, bounds_.least, bounds_.most));
}

void pool::start_up_to(std::size_t wanted) {
    const auto now = std::chrono::steady_clock::now();
    if (size_ >= wanted || now < retry_at_)
        return;
    try {
        while (size_ < wanted)
            start_one();
    } catch (const std::exception& failure) {
        retry_at_ = now + after_refusal;
        log_.warn("event=fewer_threads threads={} wanted={} reason={}", size_, wanted,
                  log_value(failure.what()));
    }
}

void pool::start_one() {
    auto& added = members_.emplace_back();
    try {
        added.runs = make_executor_();
        added.thread = std::thread{[this, &added] { run(added); }};
    } catch (...) {
        members_.pop_back();
        throw;
    }
    ++size_;
}

void pool::reap() {
    for (auto one = members_.begin(); one != members_.end();) {
        if (!one->ended) {
            ++one;
            continue;
        }
        one->thread.join(); // it does nothing any more
        one = members_.erase(one);
    }
}

void pool::run(member& self) noexcept {
    pthread_setname_np(pthread_self(), "haul-job");
    bool finished = false;
    std::optional<std::chrono::milliseconds> idle = bounds_.idle;
    for (;;) {
        job* next = jobs_.take(finished, idle);
        finished = next != nullptr;
        if (next)
            self.runs->run(*next);
        else if (may_end())
            break;
        // Who has to stay waits for its next job, however long that takes.
        idle = next ? std::optional{bounds_.idle} : std::nullopt;
    }
    {
        const std::lock_guard lock{mutex_};
        self.ended = true;
    }
    ended_.set();
}

// A thread found nothing to do. It is not counted any more when it may end.
bool pool::may_end() {
    const bool closed = jobs_.is_closed();
    const std::lock_guard lock{mutex_};
    if (!closed && size_ <= bounds_.least)
        return false;
    --size_;
    return true;
}

void pool::cancel(cancellation::level how) {
    const std::lock_guard lock{mutex_};
    for (auto& one : members_)
        one.runs->cancelling().cancel(how);
}

claims pool::running_since_last_look(std::int64_t worker_id) {
    claims running;
    const std::lock_guard lock{mutex_};
    for (auto& one : members_)
        one.runs->current().look(worker_id, running);
    return running;
}

claims pool::cancel(const claims& jobs) {
    claims told;
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < jobs.ids.size(); ++i) {
        for (auto& one : members_) {
            if (one.runs->current().cancel(jobs.ids[i], jobs.numbers[i]))
                told.add(jobs.ids[i], jobs.numbers[i]);
        }
    }
    return told;
}

std::size_t pool::size() const {
    const std::lock_guard lock{mutex_};
    return size_;
}

void pool::join() {
    {
        const std::lock_guard lock{mutex_};
        joining_ = true; // from here on nobody else changes the list
    }
    for (auto& one : members_)
        one.thread.join();
    const std::lock_guard lock{mutex_};
    members_.clear();
}

} // namespace haul::core
