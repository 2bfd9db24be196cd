#include "text.hpp"

#include <cstdint>
#include <fmt/chrono.h>
#include <fmt/format.h>

namespace haul::core {

namespace {

// Length of the UTF-8 sequence at the start of the text; 0 when there is none.
std::size_t sequence_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t first = byte(0);
    if (first < 0x80)
        return first == 0 ? 0 : 1;
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length)
        return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80)
            return 0;
    }
    const std::uint8_t second = byte(1);
    const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool beyond =
        (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F); // surrogates; the end
    return overlong || beyond ? 0 : length;
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
    const auto plain = [](char c) {
        return static_cast<unsigned char>(c) > ' ' && c != '"' && c != '=' && c != 0x7F;
    };
    bool quotes = value.empty();
    for (const char c : value)
        quotes = quotes || !plain(c);
    if (!quotes)
        return std::string{value};
    std::string text = "\"";
    for (const char c : value) {
        if (c == '"' || c == '\\')
            text += {'\\', c};
        else if (c == '\n')
            text += "\\n";
        else if (static_cast<unsigned char>(c) < ' ' || c == 0x7F)
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
            text += c;
    }
    return text + '"';
}

std::string in_seconds(std::chrono::microseconds duration) {
    return fmt::format("{:g} s", std::chrono::duration<double>{duration}.count());
}

std::string in_utc(std::chrono::system_clock::time_point time) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    const auto fraction = std::chrono::duration_cast<std::chrono::microseconds>(time - whole);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(whole)), fraction.count());
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
