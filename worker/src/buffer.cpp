#include "buffer.hpp"

namespace haul::core {

void buffer::push(batch& jobs) {
    if (jobs.size() == 0)
        return;
    const std::lock_guard lock{mutex_};
    spans_.push_back({&jobs, 0});
    level_.waiting += jobs.size();
    // One is enough: each thread that takes a job wakes the next while there is more.
    if (level_.idle > 0)
        filled_.notify_one();
}

job* buffer::take(bool finished, std::optional<std::chrono::milliseconds> idle_limit) {
    std::unique_lock lock{mutex_};
    if (finished)
        --level_.busy;
    if (level_.waiting == 0) {
        if (waiting_for_room_ && room_now() > 0) {
            waiting_for_room_ = false;
            wake_.set();
        }
        ++level_.idle;
        const auto called = [&] { return closed_ || level_.waiting > 0; };
        if (idle_limit)
            filled_.wait_for(lock, *idle_limit, called);
        else
            filled_.wait(lock, called);
        --level_.idle;
        if (level_.waiting == 0)
            return nullptr;
    }
    span& front = spans_.front();
    job& taken = (*front.jobs)[front.next];
    if (++front.next == front.jobs->size())
        spans_.pop_front();
    --level_.waiting;
    ++level_.busy;
    ++level_.started;
    if (waiting_for_room_ && room_now() > 0) {
        waiting_for_room_ = false;
        wake_.set();
    }
    if (level_.waiting > 0 && level_.idle > 0)
        filled_.notify_one();
    return &taken;
}

std::vector<job*> buffer::withdraw() {
    const std::lock_guard lock{mutex_};
    std::vector<job*> jobs;
    jobs.reserve(level_.waiting);
    for (auto& span : spans_) {
        for (; span.next < span.jobs->size(); ++span.next)
            jobs.push_back(&(*span.jobs)[span.next]);
    }
    spans_.clear();
    level_.waiting = 0;
    return jobs;
}

void buffer::close() {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    filled_.notify_all();
}

bool buffer::is_closed() const {
    const std::lock_guard lock{mutex_};
    return closed_;
}

buffer::level buffer::state() const {
    const std::lock_guard lock{mutex_};
    return level_;
}

std::size_t buffer::room_now() const {
    if (level_.waiting > ahead_ / 2)
        return 0;
    const std::size_t used = level_.busy + level_.waiting;
    const std::size_t wanted = threads_ + ahead_;
    return wanted > used ? wanted - used : 0;
}

std::size_t buffer::room(std::size_t threads, std::size_t ahead) {
    const std::lock_guard lock{mutex_};
    threads_ = threads;
    ahead_ = ahead;
    const std::size_t room = room_now();
    waiting_for_room_ = room == 0;
    return room;
}

} // namespace haul::core
