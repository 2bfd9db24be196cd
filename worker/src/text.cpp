#include "text.hpp"

#include "utf8.hpp"

#include <cstdint>
#include <ctime>
#include <fmt/format.h>

namespace haul::core {

namespace {

// Length of the UTF-8 sequence at the start of the text; 0 when there is none, and for NUL.
std::size_t sequence_length(std::string_view text) {
    const std::size_t size = text.size();
    const auto character = take_character(text);
    return character && *character != 0 ? size - text.size() : 0;
}

} // namespace

bool is_utf8(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const std::size_t length = sequence_length(bytes);
        if (length == 0)
            return false;
        bytes.remove_prefix(length);
    }
    return true;
}

std::string to_utf8(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    while (!bytes.empty()) {
        const std::size_t length = sequence_length(bytes);
        if (length == 0)
            text += "\xEF\xBF\xBD";
        else
            text += bytes.substr(0, length);
        bytes.remove_prefix(length == 0 ? 1 : length);
    }
    return text;
}

std::string to_ascii(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    for (const char c : to_utf8(text)) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte < 0x80)
            plain += c;
        else if (byte >= 0xC0) // the first of a character
            plain += '?';
    }
    return plain;
}

std::string json_to_ascii(std::string_view json) {
    const std::string text = to_ascii(json);
    std::string plain;
    plain.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.compare(i, 2, "\\u") == 0) {
            plain += '?';
            i += 5;
            continue;
        }
        plain += text[i];
        if (text[i] == '\\' && i + 1 < text.size()) // what is escaped is no beginning of anything
            plain += text[++i];
    }
    return plain;
}

std::string log_value(std::string_view value) {
    const auto is_plain = [](std::optional<char32_t> c) {
        return c && is_printable(*c) && *c != ' ' && *c != '"' && *c != '=';
    };
    bool quotes = value.empty();
    for (auto rest = value; !rest.empty() && !quotes;)
        quotes = !is_plain(take_character(rest));
    if (!quotes)
        return std::string{value};
    std::string text = "\"";
    while (!value.empty()) {
        const auto before = value;
        const auto character = take_character(value);
        if (!character)
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(before[0]));
        else if (*character == '"' || *character == '\\')
            text += {'\\', before[0]};
        else if (*character == '\n')
            text += "\\n";
        else if (is_printable(*character))
            text += before.substr(0, before.size() - value.size());
        else if (*character < 0x80)
            text += fmt::format("\\x{:02x}", static_cast<unsigned>(*character));
        else
            text += fmt::format("\\u{:04x}", static_cast<unsigned>(*character));
    }
    return text + '"';
}

std::string in_seconds(std::chrono::microseconds duration) {
    return fmt::format("{:g} s", std::chrono::duration<double>{duration}.count());
}

std::string in_utc(timestamp time) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch();
    const std::time_t seconds = whole.count();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       (time.time_since_epoch() - whole).count());
}

std::string shortened(std::string text, std::size_t most) {
    if (text.size() <= most)
        return text;
    const auto is_inside = [&](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
    };
    std::size_t head = most / 2, tail = text.size() - most / 2;
    while (head > 0 && is_inside(head))
        --head;
    while (tail < text.size() && is_inside(tail))
        ++tail;
    return text.substr(0, head) + fmt::format("\n[… {} bytes …]\n", tail - head) + text.substr(tail);
}

std::string_view tail(std::string_view text, std::size_t most) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
        text.remove_suffix(1);
    if (text.size() <= most)
        return text;
    text.remove_prefix(text.size() - most);
    const auto line = text.find('\n');
    return line == std::string_view::npos ? text : text.substr(line + 1);
}

} // namespace haul::core
