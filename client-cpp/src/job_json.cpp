#include "job_json.hpp"

#include "haul/error.hpp"
#include "job_row.hpp"

#include <nlohmann/json.hpp>
#include <string_view>

namespace haul {

namespace {

/// Arguments stand in the text as they are, so that numbers keep all their digits: they must be one value,
/// and no more.
const std::string& checked_json(const std::string& text) {
    using nlohmann::json;
    // Of what is nested in the arguments nothing is kept.
    const json::parser_callback_t outermost = [](int depth, json::parse_event_t, json&) {
        return depth == 0;
    };
    try {
        // The server would take null for no arguments.
        if (json::parse(text, outermost).is_null())
            throw bad_job{"job arguments must be a JSON object, not null", "23514", "",
                          "Leave them out, or write {}."};
    } catch (const json::out_of_range& e) {
        throw bad_job{std::string{"job arguments hold a number that is too large for a double: "} + e.what(),
                      "22003"};
    } catch (const json::exception& e) {
        throw bad_job{std::string{"job arguments are no JSON text: "} + e.what(), "22P02"};
    }
    return text;
}

std::string array_json(const std::vector<std::string>& items) {
    std::string array;
    for (const auto& item : items)
        array += (array.empty() ? "" : ",") + json_string(item);
    return '[' + array + ']';
}

std::string value_json(const job_column& column, const new_job& job, const std::string& text) {
    const std::string_view type = column.type;
    if (type == "jsonb")
        return checked_json(text);
    if (type == "text[]")
        return array_json(job.options.avoid);
    if (type == "smallint" || type == "integer" || type == "boolean")
        return text;
    return json_string(text);
}

} // namespace

std::string json_string(const std::string& text) {
    try {
        return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception& e) {
        throw bad_job{std::string{"a text is not UTF-8: "} + e.what(), "22021"};
    }
}

std::string job_json(const new_job& job) {
    check(job);
    if (job.options.on_duplicate == duplicate_action::return_existing)
        throw bad_job{"a job of a workflow cannot be one that exists", "22023", "",
                      "Leave out on_duplicate = return_existing."};
    std::string members;
    const auto add = [&](const char* name, const std::string& value) {
        members += (members.empty() ? "\"" : ",\"") + std::string{name} + "\":" + value;
    };
    for (const auto& column : job_columns()) {
        if (const auto text = column.value(job))
            add(column.name, value_json(column, job, *text));
    }
    if (job.options.wait)
        add("wait", json_string(interval_text(*job.options.wait)));
    return members;
}

} // namespace haul
