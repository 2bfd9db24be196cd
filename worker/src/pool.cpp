#include "pool.hpp"

#include <algorithm>
#include <pthread.h>

namespace haul::core {

pool::pool(buffer& jobs, const limits& bounds, executor_factory make_executor, event& ended)
    : jobs_{jobs}, bounds_{bounds}, make_executor_{std::move(make_executor)}, ended_{ended} {}

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
    const auto wanted = std::clamp(level.busy + level.waiting, bounds_.least, bounds_.most);
    while (size_ < wanted)
        start_one();
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
    for (;;) {
        job* next = jobs_.take(finished, bounds_.idle);
        finished = next != nullptr;
        if (next)
            self.runs->run(*next);
        else if (may_end())
            break;
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
