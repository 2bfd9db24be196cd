#include "utf8.hpp"

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdint>
#include <cwchar>

namespace haul {

namespace {

// The system's table of widths goes by the locale of the thread; without this one every width is 1.
class utf8_locale {
public:
    utf8_locale() : before_{::uselocale(made())} {}
    ~utf8_locale() { ::uselocale(before_); }
    utf8_locale(const utf8_locale&) = delete;
    utf8_locale& operator=(const utf8_locale&) = delete;

    static locale_t made() {
        static const locale_t locale = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
        return locale;
    }

private:
    locale_t before_;
};

} // namespace

std::size_t utf8_length(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::optional<char32_t> take_character(std::string_view& text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t first = byte(0);
    const std::size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    char32_t character = first < 0x80 ? first : first & (0xFF >> (length + 1));
    bool good = (first < 0x80 || (first >= 0xC2 && first <= 0xF4)) && text.size() >= length;
    for (std::size_t i = 1; good && i < length; ++i) {
        good = (byte(i) & 0xC0) == 0x80;
        character = character << 6 | (byte(i) & 0x3F);
    }
    constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    good = good && character >= least[length] && character <= 0x10FFFF &&
           !(character >= 0xD800 && character <= 0xDFFF);
    text.remove_prefix(good ? length : 1);
    return good ? std::optional{character} : std::nullopt;
}

bool is_printable(char32_t character) {
    struct range {
        char32_t first, last;
    };
    constexpr std::array<range, 10> hidden{{
        {0, 0x1F},          // C0
        {0x7F, 0x9F},       // DEL, C1
        {0xAD, 0xAD},       // soft hyphen
        {0x061C, 0x061C},   // a mark of direction
        {0x200B, 0x200F},   // zero width, marks of direction
        {0x2028, 0x202E},   // ends of lines and paragraphs, directions
        {0x2060, 0x206F},   // invisible operators, directions
        {0xFEFF, 0xFEFF},   // byte order mark
        {0xFFF9, 0xFFFB},   // annotations
        {0xE0000, 0xE007F}, // tags
    }};
    return std::none_of(hidden.begin(), hidden.end(),
                        [&](const range& one) { return character >= one.first && character <= one.last; });
}

std::string printable(std::string_view text) {
    std::string plain;
    while (!text.empty()) {
        const auto before = text;
        const auto character = take_character(text);
        if (character && is_printable(*character))
            plain += before.substr(0, before.size() - text.size());
        else
            plain += '?';
    }
    return plain;
}

std::size_t display_width(std::string_view text) {
    if (!utf8_locale::made())
        return utf8_length(text);
    const utf8_locale in_use;
    std::size_t width = 0;
    while (!text.empty()) {
        const auto character = take_character(text);
        const int columns = character ? ::wcwidth(static_cast<wchar_t>(*character)) : 1;
        width += columns < 0 ? 1 : static_cast<std::size_t>(columns);
    }
    return width;
}

} // namespace haul
