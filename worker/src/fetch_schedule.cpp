#include "fetch_schedule.hpp"

#include "pause.hpp"

#include <algorithm>

namespace haul::core {

namespace {

// Under load a notification comes sooner than the answer would be of use.
constexpr std::chrono::milliseconds quiet{5};

// A job that is due and cannot be had is locked by another transaction, or another worker was faster.
constexpr std::chrono::milliseconds vain_pause{20};
constexpr int vain_doublings = 6;

} // namespace

void fetch_schedule::looked(steady_time now, std::size_t asked, std::size_t got) {
    if (got > 0)
        vain_ = 0;
    look_ = got >= asked;
    due_at_.reset();
    ask_at_ = now + quiet;
    poll_at_ = now + jittered(polling_interval_, jitter_, random_);
}

void fetch_schedule::next_due(steady_time now, std::optional<std::chrono::microseconds> delay) {
    ask_at_.reset();
    due_at_.reset();
    if (!delay)
        return;
    if (delay->count() > 0) {
        // A job of next year needs no timer: the next poll asks again.
        if (*delay < polling_interval_ * 2)
            due_at_ = now + *delay;
        vain_ = 0;
    } else {
        due_at_ = now + vain_pause * (1 << std::min(vain_, vain_doublings));
        ++vain_;
    }
}

bool fetch_schedule::should_look(steady_time now) {
    if (now >= poll_at_ || (due_at_ && now >= *due_at_))
        look_ = true;
    return look_;
}

bool fetch_schedule::should_ask_next_due(steady_time now) const {
    return !look_ && ask_at_ && now >= *ask_at_;
}

std::optional<steady_time> fetch_schedule::wake_at() const {
    if (look_)
        return std::nullopt;
    steady_time soonest = poll_at_;
    if (due_at_)
        soonest = std::min(soonest, *due_at_);
    if (ask_at_)
        soonest = std::min(soonest, *ask_at_);
    return soonest;
}

} // namespace haul::core
