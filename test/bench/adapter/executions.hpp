#ifndef HAUL_BENCH_EXECUTIONS_HPP
#define HAUL_BENCH_EXECUTIONS_HPP

#include <cstdint>
#include <string>

namespace haul::bench {

/// A file with the id of every job that began to run, a line each: it tells of them also when the program was
/// killed just afterwards. Thread-safe.
class executions {
public:
    /// Appends to the file; without a name, nothing is written. Throws std::system_error.
    explicit executions(const std::string& file);
    ~executions();
    executions(const executions&) = delete;
    executions& operator=(const executions&) = delete;

    void began(std::int64_t job_id) const;

private:
    int descriptor_ = -1;
};

} // namespace haul::bench

#endif
