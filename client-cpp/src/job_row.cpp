#include "job_row.hpp"

#include "haul/error.hpp"

#include <cstdio>
#include <ctime>

namespace haul {

namespace {

using compat::param;

param text(const std::optional<std::string>& value) {
    return value;
}
param text(const std::optional<int>& value) {
    return compat::to_param(value);
}
param text(const std::optional<bool>& value) {
    return compat::to_param(value);
}
param text(const std::optional<interval>& value) {
    return value ? param{interval_text(*value)} : std::nullopt;
}

param text(const std::optional<timestamp>& value) {
    if (!value)
        return std::nullopt;
    return timestamp_text(value->time_since_epoch());
}

param text(const std::optional<timeout_action>& value) {
    if (!value)
        return std::nullopt;
    return *value == timeout_action::retry ? "retry" : "discard";
}

param text(const std::optional<interrupt_action>& value) {
    if (!value)
        return std::nullopt;
    switch (*value) {
    case interrupt_action::retry:
        return "retry";
    case interrupt_action::fail:
        return "fail";
    case interrupt_action::discard:
        return "discard";
    }
    return std::nullopt;
}

param text(const std::optional<unique_scope>& value) {
    if (!value)
        return std::nullopt;
    return *value == unique_scope::finished ? "finished" : "started";
}

param array_text(const std::vector<std::string>& items) {
    if (items.empty())
        return std::nullopt;
    std::string array = "{";
    for (const auto& item : items) {
        array += array.size() > 1 ? ",\"" : "\"";
        for (const char c : item) {
            if (c == '"' || c == '\\')
                array += '\\';
            array += c;
        }
        array += '"';
    }
    return array + '}';
}

} // namespace

const std::vector<job_column>& job_columns() {
    static const std::vector<job_column> columns = {
        {"kind", "text", {}, [](const new_job& j) -> param { return j.kind; }},
        {"args", "jsonb", {}, [](const new_job& j) -> param { return j.args.text(); }},
        {"queue", "text", "default", [](const new_job& j) { return text(j.options.queue); }},
        {"priority", "smallint", "16383", [](const new_job& j) { return text(j.options.priority); }},
        {"run_at", "timestamptz", "now", [](const new_job& j) { return text(j.options.run_at); }},
        {"max_attempts", "integer", "21", [](const new_job& j) { return text(j.options.max_attempts); }},
        {"backoff", "text", {}, [](const new_job& j) { return text(j.options.backoff); }},
        {"timeout", "interval", {}, [](const new_job& j) { return text(j.options.timeout); }},
        {"on_timeout", "text", "retry", [](const new_job& j) { return text(j.options.on_timeout); }},
        {"queue_timeout", "interval", {}, [](const new_job& j) { return text(j.options.queue_timeout); }},
        {"expires_at", "timestamptz", {}, [](const new_job& j) { return text(j.options.expires_at); }},
        {"on_interrupt", "text", "retry", [](const new_job& j) { return text(j.options.on_interrupt); }},
        {"unique_key", "text", {}, [](const new_job& j) { return text(j.options.unique_key); }},
        {"unique_until", "text", "finished", [](const new_job& j) { return text(j.options.unique_until); }},
        {"concurrency_key", "text", {}, [](const new_job& j) { return text(j.options.concurrency_key); }},
        {"concurrency_limit", "integer", "1",
         [](const new_job& j) { return text(j.options.concurrency_limit); }},
        {"pin", "text", {}, [](const new_job& j) { return text(j.options.pin); }},
        {"pin_strict", "boolean", "false", [](const new_job& j) { return text(j.options.pin_strict); }},
        {"avoid", "text[]", {}, [](const new_job& j) { return array_text(j.options.avoid); }},
        {"every", "interval", {}, [](const new_job& j) { return text(j.options.every); }},
        {"reply_to", "text", {}, [](const new_job& j) { return text(j.options.reply_to); }},
        {"keep", "interval", {}, [](const new_job& j) { return text(j.options.keep); }},
    };
    return columns;
}

std::string timestamp_text(std::chrono::microseconds since_epoch) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
    const std::time_t time = seconds.count();
    std::tm utc{};
    gmtime_r(&time, &utc);
    char text[80];
    std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", utc.tm_year + 1900,
                  utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                  static_cast<int>((since_epoch - seconds).count()));
    return text;
}

std::string interval_text(interval value) {
    return std::to_string(value.count()) + " microseconds";
}

void check(const new_job& job) {
    if (job.options.run_at && job.options.wait)
        throw bad_job{"job options run_at and wait exclude each other", "22023"};
    for (const auto& column : job_columns()) {
        const auto value = column.value(job);
        if (value && value->find('\0') != std::string::npos)
            throw bad_job{std::string{"job column "} + column.name + " must not contain NUL characters",
                          "22021"};
    }
}

void check_for_copy(const new_job& job) {
    check(job);
    if (job.options.on_duplicate == duplicate_action::return_existing)
        throw bad_job{"COPY cannot return existing jobs", "22023", "",
                      "Enqueue jobs with on_duplicate = return_existing one at a time."};
}

} // namespace haul
