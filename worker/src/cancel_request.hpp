#ifndef HAUL_WORKER_CANCEL_REQUEST_HPP
#define HAUL_WORKER_CANCEL_REQUEST_HPP

#include "event.hpp"
#include "session.hpp"

#include <atomic>
#include <thread>

namespace haul::core {

/// Asks the server to cancel what a session runs. libpq makes a connection of its own for that and blocks
/// until the server has closed it, so it does so on a thread of its own. delivered() is thread-safe.
class cancel_request {
public:
    /// `wake` is set when the request has been delivered, or could not be; it must outlive this.
    cancel_request(const session& what, event& wake);
    /// Waits for libpq.
    ~cancel_request();
    cancel_request(const cancel_request&) = delete;
    cancel_request& operator=(const cancel_request&) = delete;

    /// From then on it cancels nothing more.
    bool delivered() const noexcept { return delivered_.load(); }

private:
    std::atomic<bool> delivered_{false};
    std::thread thread_;
};

} // namespace haul::core

#endif
