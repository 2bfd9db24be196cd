#include "handlers/handlers.hpp"

#include "haul/error.hpp"

#include <cmath>

namespace haul::core {

namespace {

outcome sleep(const job_context& job) {
    const auto found = job.args().find("seconds");
    if (found == job.args().end() || !found->is_number() || !(found->get<double>() >= 0))
        return fail_for_good{"the builtin sleep wants args {\"seconds\": n} with n at least 0"};
    const double longest = 1e9;
    job.wait_for(std::chrono::milliseconds{std::llround(std::min(found->get<double>(), longest) * 1000)});
    return completed{};
}

outcome fail(const job_context& job) {
    const auto found = job.args().find("message");
    return retry{found != job.args().end() && found->is_string() ? found->get<std::string>()
                                                                 : "failed as asked"};
}

} // namespace

handler make_builtin_handler(const std::string& name) {
    if (name == "noop")
        return [](const job_context&) -> outcome { return completed{}; };
    if (name == "echo")
        return [](const job_context& job) -> outcome {
            return completed::with_text(std::string{job.args_text()});
        };
    if (name == "sleep")
        return sleep;
    if (name == "fail")
        return fail;
    throw error{"unknown builtin handler \"" + name + "\": there are noop, sleep, echo, fail"};
}

} // namespace haul::core
