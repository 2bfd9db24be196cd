#ifndef HAUL_TEST_CHECKER_HPP
#define HAUL_TEST_CHECKER_HPP

#include <string>
#include <vector>

namespace haul::test {

struct checker_options {
    /// Table with a column "id": every job whose INSERT committed, and no other. Empty: not known.
    std::string expected;
    /// Table with a column "job_id": what handlers wrote in the transaction that completed the job. Empty:
    /// none.
    std::string effects;
    /// Whether haul.finished_jobs still holds every job that ended: nothing pruned, nothing enqueued with
    /// keep = 0.
    bool history = true;
    /// Whether nobody is at work and maintenance has run. Otherwise a job may still be running at a worker
    /// that has been deleted: somebody else had the job locked just then, and maintenance will release it.
    bool at_rest = true;
};

/// Verifies in one snapshot that no job was lost, doubled or miscounted. Returns
/// what is wrong in plain words, a line each; nothing when all is well. Throws sql_error when it cannot look.
std::vector<std::string> check(const std::string& dsn, const checker_options& options = {});

} // namespace haul::test

#endif
