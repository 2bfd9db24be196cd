#ifndef HAUL_WORKER_CANCELLER_HPP
#define HAUL_WORKER_CANCELLER_HPP

#include "event.hpp"
#include "haul/job_context.hpp"
#include "haul/pqxx_compat.hpp"

#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

namespace haul::core {

/// Cancels in the server what handlers do there once their job is to stop. libpq's request to cancel blocks,
/// so this has a thread of its own, which is started when it is first needed. Thread-safe.
class canceller {
    struct entry {
        const job_context* job;
        compat::any_connection* connection;
        steady_time next_request{};
        bool requesting = false; // the thread is at it
        bool requested = false;
    };

public:
    canceller() = default;
    /// No watch may be left.
    ~canceller();
    canceller(const canceller&) = delete;
    canceller& operator=(const canceller&) = delete;

    /// As long as it lives, what runs on the connection is cancelled when the job is: at once, and every
    /// second until the handler has given in.
    class watch {
    public:
        watch(canceller& by, const job_context& job, compat::any_connection& connection);
        /// Waits for a request that is under way.
        ~watch();
        watch(const watch&) = delete;
        watch& operator=(const watch&) = delete;

        /// A request may still take effect: the connection is good for nothing else.
        bool has_cancelled() const;

    private:
        canceller& by_;
        std::list<entry>::iterator entry_;
    };

private:
    void run() noexcept;
    void wait();
    entry* due(steady_time now);

    mutable std::mutex mutex_;
    std::condition_variable requested_; // a request is over
    event changed_;
    std::list<entry> entries_;
    bool ending_ = false;
    std::thread thread_;
};

} // namespace haul::core

#endif
