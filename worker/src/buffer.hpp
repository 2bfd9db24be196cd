#ifndef HAUL_WORKER_BUFFER_HPP
#define HAUL_WORKER_BUFFER_HPP

#include "batch.hpp"
#include "event.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace haul::core {

/// Jobs that were fetched ahead of the threads that run them, in dispatch order. It also counts those
/// threads: that is what says how many jobs to fetch. Thread-safe.
class buffer {
public:
    /// `wake` is set when the fetcher, which was told that there is no room, should ask again.
    explicit buffer(event& wake) : wake_{wake} {}

    /// Appends all jobs of a batch.
    void push(batch& jobs);

    /// A thread asks for its next job; with `finished` it says that it has run one. Waits up to `idle_limit`,
    /// without one for as long as it takes. Returns null when there was none in time, or the buffer is closed
    /// and empty.
    job* take(bool finished, std::optional<std::chrono::milliseconds> idle_limit);

    /// Takes out everything that no thread has taken.
    std::vector<job*> withdraw();

    /// take() does not wait any more.
    void close();
    bool is_closed() const;

    struct level {
        std::size_t waiting = 0;   ///< jobs that no thread has taken
        std::size_t busy = 0;      ///< threads that run a job
        std::size_t idle = 0;      ///< threads that wait for one
        std::uint64_t started = 0; ///< jobs taken so far
    };
    level state() const;

    /// How many jobs to fetch for `threads` threads while `ahead` more may lie here: 0 as long as more than
    /// half of those do. After 0, the event is set as soon as it would be more.
    std::size_t room(std::size_t threads, std::size_t ahead);

private:
    struct span {
        batch* jobs;
        std::size_t next;
    };
    std::size_t room_now() const;

    event& wake_;
    mutable std::mutex mutex_;
    std::condition_variable filled_;
    std::deque<span> spans_;
    level level_;
    std::size_t threads_ = 0;
    std::size_t ahead_ = 0;
    bool waiting_for_room_ = false;
    bool closed_ = false;
};

} // namespace haul::core

#endif
