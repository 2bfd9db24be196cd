// The handler of the latency measurement: notes when it began, as a line "NUMBER NANOSECONDS" in the file
// that HAUL_BENCH_STAMPS names. The clock is the monotonic one, the same for all processes.
#include <haul/plugin.hpp>

#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace {

int open_stamps() {
    const char* path = std::getenv("HAUL_BENCH_STAMPS");
    const int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        throw std::runtime_error{"HAUL_BENCH_STAMPS names no file that can be written"};
    return file;
}

void stamp(const haul::job_context& job) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    static const int file = open_stamps(); // until the process ends
    const auto line = std::to_string(job.args().at("n").get<int>()) + ' ' +
                      std::to_string(std::chrono::nanoseconds{now}.count()) + '\n';
    if (write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        throw std::runtime_error{"the stamp could not be written"};
}

} // namespace

HAUL_PLUGIN(stamp)
