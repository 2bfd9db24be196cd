#ifndef HAUL_WORKER_PROGRAM_GUARD_HPP
#define HAUL_WORKER_PROGRAM_GUARD_HPP

#include <atomic>
#include <sys/types.h>

namespace haul::core {

/// A small process that waits for the end of this one, however it comes, and then kills the process groups of
/// programs that still run: nobody is left who would tell how their jobs ended, and these soon run again
/// elsewhere. The parent-death signal of a program (see child_process) reaches only the program itself; this
/// reaches what it has started, too, unless that left the group.
///
/// The groups stand in memory that both processes share. The guard is started for the first program, has a
/// session of its own, so that no signal to the worker's group or from its terminal reaches it, and ends with
/// this process. Thread-safe.
class program_guard {
public:
    /// Where the group of one program stands, as long as it may be killed. Outlived by the guard.
    class place {
    public:
        place(place&& other) noexcept : group_{other.group_} { other.group_ = nullptr; }
        place& operator=(place&&) = delete;
        ~place() { clear(); }

        /// Async-signal-safe: the child says it of itself before it becomes the program.
        void set(pid_t group) noexcept {
            if (group_)
                group_->store(group);
        }
        /// To be called before the program is waited for: afterwards another may get its number.
        void clear() noexcept;

    private:
        friend class program_guard;
        explicit place(std::atomic<pid_t>* group) noexcept : group_{group} {}
        std::atomic<pid_t>* group_;
    };

    /// Throws unavailable or std::system_error when the guard cannot be started.
    static place take();

private:
    program_guard();
    struct table;
    table* groups_;
};

} // namespace haul::core

#endif
