#ifndef HAUL_WORKER_LOGGING_HPP
#define HAUL_WORKER_LOGGING_HPP

#include "haul/options.hpp"

#include <memory>
#include <spdlog/logger.h>
#include <string>

namespace spdlog::sinks {
template <typename Mutex>
class dist_sink;
}

namespace haul::core {

/// The worker's log: lines of key=value, one for each change of state, to a file that rotates or to standard
/// error. Thread-safe.
class log_file {
public:
    /// Throws haul::error when the file cannot be opened or the level is unknown.
    log_file(const log_options& options, const std::string& worker);

    spdlog::logger& logger() const noexcept { return *logger_; }

    /// Opens the file anew, after somebody has moved it away.
    void reopen();

private:
    spdlog::sink_ptr open_sink() const;

    log_options options_;
    std::string pattern_;
    std::shared_ptr<spdlog::sinks::dist_sink<std::mutex>> sinks_;
    std::shared_ptr<spdlog::logger> logger_;
};

} // namespace haul::core

#endif
