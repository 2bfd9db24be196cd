#include "executions.hpp"

#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace haul::bench {

executions::executions(const std::string& file) {
    if (file.empty())
        return;
    descriptor_ = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ < 0)
        throw std::system_error(errno, std::generic_category(), file);
}

executions::~executions() {
    if (descriptor_ >= 0)
        close(descriptor_);
}

void executions::began(std::int64_t job_id) const {
    if (descriptor_ < 0)
        return;
    const std::string line = std::to_string(job_id) + '\n';
    if (write(descriptor_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        throw std::system_error(errno, std::generic_category(), "the file of executions");
}

} // namespace haul::bench
