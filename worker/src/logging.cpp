#include "logging.hpp"

#include "haul/error.hpp"
#include "text.hpp"

#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

namespace haul::core {

namespace {

spdlog::level::level_enum level_of(const std::string& name) {
    for (const auto& known : {"trace", "debug", "info", "warning", "error", "off"}) {
        if (name == known)
            return spdlog::level::from_str(name);
    }
    throw error{
        "unknown log level \"" + name + "\"", {}, {}, "Levels are trace, debug, info, warning, error, off."};
}

std::string escaped_pattern(std::string_view text) {
    std::string pattern;
    for (const char c : text)
        pattern += c == '%' ? std::string{"%%"} : std::string(1, c);
    return pattern;
}

} // namespace

log_file::log_file(const log_options& options, const std::string& worker)
    : options_{options},
      pattern_{"time=%Y-%m-%dT%H:%M:%S.%e%z level=%l worker=" + escaped_pattern(log_value(worker)) + " %v"},
      sinks_{std::make_shared<spdlog::sinks::dist_sink<std::mutex>>()},
      logger_{std::make_shared<spdlog::logger>("haul", sinks_)} {
    logger_->set_level(level_of(options.level));
    logger_->flush_on(spdlog::level::info);
    sinks_->add_sink(open_sink());
}

spdlog::sink_ptr log_file::open_sink() const {
    spdlog::sink_ptr sink;
    try {
        if (!options_.file.empty())
            sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options_.file, options_.size,
                                                                          options_.count);
        else if (options_.quiet)
            sink = std::make_shared<spdlog::sinks::null_sink_mt>();
        else
            sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } catch (const spdlog::spdlog_ex& failure) {
        throw error{std::string{"cannot open the log file: "} + failure.what()};
    }
    sink->set_pattern(pattern_);
    return sink;
}

void log_file::reopen() {
    sinks_->set_sinks({open_sink()});
}

} // namespace haul::core
