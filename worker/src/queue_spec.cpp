#include "queue_spec.hpp"

#include "haul/error.hpp"
#include "utf8.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace haul::program {

namespace {

void check_name(const std::string& name) {
    const auto length = utf8_length(name);
    if (length < 1 || length > 63)
        throw error{"a queue name must have 1 to 63 characters, not \"" + name + "\""};
}

/// Without the blanks around it: "a, b" names the same queues as "a,b".
std::string trimmed(const std::string& text) {
    const char* blanks = " \t\r\n";
    const auto begin = text.find_first_not_of(blanks);
    if (begin == std::string::npos)
        return {};
    return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

std::optional<double> number(const std::string& text) {
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || problem != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

/// "critical:8" with its weight, any other name as it is.
void add_weighted(worker_options& options, const std::string& item) {
    const auto colon = item.rfind(':');
    const auto weight = colon == std::string::npos ? std::nullopt : number(trimmed(item.substr(colon + 1)));
    if (weight) {
        options.weighted = true;
        add_queue(options, {trimmed(item.substr(0, colon)), *weight});
    } else {
        add_queue(options, {item, 1});
    }
}

} // namespace

void add_queues(worker_options& options, const std::string& given) {
    const std::string spec = trimmed(given);
    if (spec == "*")
        return; // no queues named is all queues
    const bool is_exclusion = !spec.empty() && spec.front() == '-';
    std::string::size_type begin = is_exclusion ? 1 : 0;
    while (true) {
        const auto end = std::min(spec.find(',', begin), spec.size());
        const std::string item = trimmed(spec.substr(begin, end - begin));
        if (item == "*")
            throw error{"\"*\" takes all queues and cannot stand among others"};
        if (is_exclusion)
            exclude_queue(options, item);
        else
            add_weighted(options, item);
        if (end == spec.size())
            return;
        begin = end + 1;
    }
}

void add_queue(worker_options& options, queue_choice queue) {
    check_name(queue.name);
    if (!(queue.weight >= 1e-6 && queue.weight <= 1e6))
        throw error{"the weight of queue \"" + queue.name + "\" must be between 0.000001 and 1000000"};
    const auto& queues = options.queues;
    if (std::any_of(queues.begin(), queues.end(), [&](const auto& q) { return q.name == queue.name; }))
        throw error{"queue \"" + queue.name + "\" is named twice"};
    options.queues.push_back(std::move(queue));
}

void exclude_queue(worker_options& options, const std::string& name) {
    check_name(name);
    options.exclude.push_back(name);
}

} // namespace haul::program
