#include "producer.hpp"

#include "haul/client.hpp"
#include "pacer.hpp"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>
#include <vector>

namespace haul::bench {

namespace {

using clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds reconnect_pause{200};

/// Jobs with arguments numbered from 1 in the name of this process, spread over the queues in turn.
class job_maker {
public:
    explicit job_maker(const settings& settings)
        : settings_{settings},
          name_{fmt::format("{}-{}", settings.instance, getpid())},
          padding_(static_cast<std::size_t>(settings.payload_bytes), 'x') {}

    std::vector<new_job> make(long count) {
        std::vector<new_job> jobs(static_cast<std::size_t>(count));
        for (new_job& job : jobs) {
            job.kind = job_kind;
            job.options.queue = queue_name(static_cast<int>(made_ % settings_.queues));
            std::string args =
                fmt::format(R"({{"producer": "{}", "number": {}, "padding": ")", name_, ++made_);
            args.append(padding_, 0, padding_.size() - std::min(padding_.size(), args.size() + 2));
            job.args = args + "\"}";
        }
        return jobs;
    }

private:
    const settings& settings_;
    const std::string name_;
    const std::string padding_;
    long made_ = 0;
};

/// A client that is connected anew as often as it takes.
class persistent_client {
public:
    persistent_client(const std::string& dsn, const stop_event& stop) : dsn_{dsn}, stop_{stop} {}

    /// False when the end was requested before the jobs were enqueued.
    bool enqueue(const std::vector<new_job>& jobs) {
        do {
            try {
                if (!client_)
                    client_.emplace(dsn_, client_options{{}, "haul bench producer"});
                client_->enqueue_many(jobs);
                return true;
            } catch (const connection_error&) {
                client_.reset();
            }
        } while (!stop_.wait_for(reconnect_pause));
        return false;
    }

private:
    const std::string dsn_;
    const stop_event& stop_;
    std::optional<client> client_;
};

} // namespace

std::string queue_name(int number) {
    return queue_prefix + std::to_string(number);
}

void produce(const settings& settings, meters& meters, const stop_event& stop) {
    const auto pacer = make_pacer(settings, meters, stop);
    persistent_client client{settings.database_url, stop};
    job_maker jobs{settings};
    while (const long count = pacer->next()) {
        const auto batch = jobs.make(count);
        const clock::time_point begin = clock::now();
        if (!client.enqueue(batch))
            return;
        meters.call.record(clock::now() - begin);
        meters.enqueued += static_cast<std::uint64_t>(count);
    }
}

} // namespace haul::bench
