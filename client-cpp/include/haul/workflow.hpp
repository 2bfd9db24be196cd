#ifndef HAUL_WORKFLOW_HPP
#define HAUL_WORKFLOW_HPP

#include "haul/job.hpp"

#include <cstdint>
#include <map>
#include <pqxx/pqxx>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace haul {

/// What becomes of a job when one that it comes after ends without success: it failed for good, was discarded
/// or cancelled.
enum class if_failed {
    cancel, ///< it is cancelled
    wait,   ///< it waits until haul.retry_workflow() is called
    run,    ///< it starts as if that had succeeded
};

/// The name of a job that another comes after, and what becomes of the other when it fails.
struct after {
    after(std::string name, haul::if_failed policy = haul::if_failed::cancel)
        : name{std::move(name)}, if_failed{policy} {}
    after(const char* name, haul::if_failed policy = haul::if_failed::cancel)
        : after{std::string{name}, policy} {}

    std::string name;
    haul::if_failed if_failed;
};

/// A workflow that was enqueued.
struct enqueued_workflow {
    std::int64_t id = 0; ///< see haul.my_workflows
    std::map<std::string, std::int64_t>
        jobs; ///< ids, by the jobs' names; haul.retry_workflow() gives new ones
};

/// A description of jobs that wait for each other:
///
///     haul::workflow flow{"nightly"};
///     flow.add("extract", {"extract"});
///     flow.add("load", {"load", R"({"table": "sales"})"}, "extract");
///     flow.add("clean up", {"clean_up"}, haul::after{"load", haul::if_failed::run});
///     haul::enqueue(tx, flow);
///
/// A job starts when all that it comes after have ended, and not before its run_at, or the time that its
/// `wait` gives from when the workflow was enqueued. Names, cycles and options are checked by the server when
/// it is enqueued. Not thread-safe.
class workflow {
public:
    explicit workflow(std::string name = {}) : name_{std::move(name)} {}

    /// Adds a job under a name of 1 to 255 characters that no other has. Those that it comes after may be
    /// added later.
    workflow& add(std::string name, new_job job, std::vector<after> comes_after);

    template <typename... After>
    std::enable_if_t<std::conjunction_v<std::is_convertible<After, after>...>, workflow&>
    add(std::string name, new_job job, After... comes_after) {
        return add(std::move(name), std::move(job), std::vector<after>{after{std::move(comes_after)}...});
    }

    const std::string& name() const noexcept { return name_; } ///< empty: none
    std::size_t size() const noexcept { return members_.size(); }

    /// Puts the queues of all jobs into a namespace, see haul::in_namespace().
    workflow& into_namespace(const std::string& name_space);

    /// The jobs as haul.workflow() takes them, a JSON array, but for the key "wait", an interval. Throws
    /// bad_job for what the server cannot see any more: run_at together with wait, on_duplicate =
    /// return_existing, arguments that are null or no JSON text, or hold a number too large for a double.
    std::string jobs() const;

private:
    friend enqueued_workflow enqueue(pqxx::transaction_base& tx, const workflow& flow);

    struct member {
        std::string name;
        new_job job;
        std::vector<after> comes_after;
    };
    std::string name_;
    std::vector<member> members_;
};

/// Enqueues the jobs of a workflow in the caller's transaction: all of them or none. Returns its id and
/// theirs, which a mailbox can expect. Throws haul::error; bad_job (22023) for options that a workflow cannot
/// have (every), names that are unknown or given twice, and cycles. The transaction can then only be rolled
/// back. As thread-safe as the transaction: not at all.
enqueued_workflow enqueue(pqxx::transaction_base& tx, const workflow& flow);

/// Enqueues jobs each of which starts when the one before it has succeeded; `policy` says what becomes of
/// those behind one that has not. Their names in the workflow are their numbers, from 1. Returns their ids,
/// in their order. Throws as above, bad_job also for no jobs at all.
std::vector<std::int64_t> chain(pqxx::transaction_base& tx, const std::vector<new_job>& jobs,
                                const std::string& name = {}, if_failed policy = if_failed::cancel);

} // namespace haul

#endif
