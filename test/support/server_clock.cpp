#include "support/server_clock.hpp"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>

namespace haul::test {

server_clock::server_clock() : file_(directory_.write("clock", std::string(sizeof(std::int64_t), '\0'))) {
    // where the server's user may read it
    std::filesystem::copy_file(HAUL_SERVER_CLOCK_LIBRARY, library());
}

std::map<std::string, std::string> server_clock::environment() const {
    return {{"CLUSTER_PRELOAD", library()}, {"HAUL_TEST_CLOCK", file_}};
}

void server_clock::set(std::chrono::seconds ahead) {
    const std::int64_t seconds = ahead.count();
    const int file = ::open(file_.c_str(), O_WRONLY | O_CLOEXEC);
    const bool written = file >= 0 && ::pwrite(file, &seconds, sizeof(seconds), 0) == sizeof(seconds);
    const int error = errno;
    ::close(file);
    if (!written)
        throw std::system_error(error, std::generic_category(), file_);
}

} // namespace haul::test
