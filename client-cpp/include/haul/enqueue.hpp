#ifndef HAUL_ENQUEUE_HPP
#define HAUL_ENQUEUE_HPP

#include "haul/job.hpp"

#include <cstdint>
#include <pqxx/pqxx>
#include <string>
#include <vector>

namespace haul {

/// Enqueues a job in the caller's transaction: commit makes it visible, rollback undoes it. Returns its id,
/// or, with on_duplicate = return_existing, that of the live job with the same unique key. The connection's
/// client_encoding should be UTF8. Throws haul::error; the transaction can then only be rolled back. As
/// thread-safe as the transaction: not at all.
std::int64_t enqueue(pqxx::transaction_base& tx, const std::string& kind, const job_args& args = {},
                     const job_options& options = {});

/// Enqueues jobs in the caller's transaction by one COPY: all of them, in their order, or none. Jobs may
/// differ in what options they set. Throws haul::error, bad_job also for on_duplicate = return_existing; the
/// transaction can then only be rolled back.
void enqueue_many(pqxx::transaction_base& tx, const std::vector<new_job>& jobs);

} // namespace haul

#endif
