#include "canceller.hpp"

#include "unavailable.hpp"

#include <algorithm>
#include <optional>
#include <poll.h>
#include <pthread.h>
#include <system_error>
#include <vector>

namespace haul::core {

namespace {
constexpr std::chrono::seconds between_requests{1};
constexpr std::chrono::milliseconds longest_wait{60'000};
} // namespace

canceller::~canceller() {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock{mutex_};
        ending_ = true;
        changed_.set();
    }
    thread_.join();
}

canceller::watch::watch(canceller& by, const job_context& job, compat::any_connection& connection) : by_{by} {
    const std::lock_guard lock{by_.mutex_};
    try {
        if (!by_.thread_.joinable())
            by_.thread_ = std::thread{[&by] { by.run(); }};
    } catch (const std::system_error& failure) {
        throw_system_error(failure.code().value(), "cannot start a thread");
    }
    entry_ = by_.entries_.insert(by_.entries_.end(), entry{&job, &connection});
    by_.changed_.set();
}

canceller::watch::~watch() {
    std::unique_lock lock{by_.mutex_};
    by_.requested_.wait(lock, [&] { return !entry_->requesting; });
    by_.entries_.erase(entry_);
}

bool canceller::watch::has_cancelled() const {
    const std::lock_guard lock{by_.mutex_};
    return entry_->requesting || entry_->requested;
}

void canceller::run() noexcept {
    pthread_setname_np(pthread_self(), "haul-cancel");
    for (;;) {
        std::unique_lock lock{mutex_};
        if (ending_)
            return;
        const auto now = std::chrono::steady_clock::now();
        if (auto* what = due(now)) {
            what->requesting = what->requested = true;
            what->next_request = now + between_requests;
            lock.unlock();
            try {
                compat::cancel(*what->connection);
            } catch (const std::exception&) { // the server is away, or the next request gets through
            }
            lock.lock();
            what->requesting = false;
            requested_.notify_all();
            continue;
        }
        lock.unlock();
        wait();
    }
}

canceller::entry* canceller::due(steady_time now) {
    for (auto& one : entries_) {
        if (now >= one.next_request && one.job->cancelled())
            return &one;
    }
    return nullptr;
}

// Until one of the jobs is to stop, or there are others.
void canceller::wait() {
    std::vector<pollfd> signs{{changed_.descriptor(), POLLIN, 0}};
    auto until = std::chrono::steady_clock::now() + longest_wait;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& one : entries_) {
            if (one.requested) {
                until = std::min(until, one.next_request);
                continue;
            }
            signs.push_back({one.job->kill_descriptor(), POLLIN, 0});
            if (const auto deadline = one.job->deadline())
                until = std::min(until, *deadline);
        }
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    ::poll(signs.data(), signs.size(),
           static_cast<int>(std::max(left, std::chrono::milliseconds{0}).count()));
    changed_.clear();
}

} // namespace haul::core
