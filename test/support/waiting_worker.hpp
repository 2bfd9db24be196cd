#ifndef HAUL_TEST_WAITING_WORKER_HPP
#define HAUL_TEST_WAITING_WORKER_HPP

#include "support/session.hpp"
#include "support/wait.hpp"

#include <string>

namespace haul::test {

/// A worker that is nothing but a session: it takes jobs only when told to, and otherwise LISTENs, as every
/// worker should, both where all are told and where it alone is.
class waiting_worker {
public:
    /// Registers, with the option wake and more options as the inside of a JSON object.
    explicit waiting_worker(const std::string& dsn, const std::string& wake = "worker",
                            const std::string& more_options = "");

    /// Takes up to so many jobs and completes them; returns how many there were. With fewer than asked for,
    /// it waits from now on. Calls heard before are forgotten.
    int work(int max_jobs = 1);

    /// Works until nothing is left; returns how many jobs there were. It waits from now on.
    int work_until_idle();

    /// Whether it has been called since it last worked.
    bool called();
    /// Throws std::runtime_error when it is not called in time.
    void await_call(std::chrono::milliseconds limit = patience);

    const std::string& id() const { return id_; }
    session& connection() { return connection_; }

private:
    session connection_;
    std::string id_;
    bool called_ = false;
};

} // namespace haul::test

#endif
