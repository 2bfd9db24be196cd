#ifndef HAUL_BENCH_PACER_HPP
#define HAUL_BENCH_PACER_HPP

#include "meters.hpp"
#include "settings.hpp"
#include "stop_event.hpp"

#include <memory>

namespace haul::bench {

/// Says when how many jobs are to be enqueued. Not thread-safe.
class pacer {
public:
    virtual ~pacer() = default;
    pacer(const pacer&) = delete;
    pacer& operator=(const pacer&) = delete;

    /// Waits for the next batch; its size, at most batch_max, or 0 when there will be none.
    virtual long next() = 0;

protected:
    pacer() = default;
};

/// The pacer that the settings ask for. All must outlive it.
std::unique_ptr<pacer> make_pacer(const settings& settings, meters& meters, const stop_event& stop);

} // namespace haul::bench

#endif
