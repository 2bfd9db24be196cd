#include "text_table.hpp"

#include "utf8.hpp"

#include <algorithm>

namespace haul::program {

namespace {

constexpr const char* red = "\033[1;31m";
constexpr const char* bold = "\033[1m";
constexpr const char* normal = "\033[0m";
constexpr const char* gap = "  ";

std::string coloured(const std::string& text, const char* colour) {
    return text.empty() ? text : colour + text + normal;
}

} // namespace

std::string text_table::render(bool colours) const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        std::size_t width = display_width(columns_[i].title);
        for (const auto& row : rows_)
            width = std::max(width, display_width(printable(row[i].text)));
        widths.push_back(width);
    }

    std::string out;
    std::string blanks; // owed before the next text, so that no line ends with them
    const auto put = [&](std::size_t i, const std::string& text, const char* colour) {
        const std::string padding(widths[i] - display_width(text), ' ');
        const bool is_right = columns_[i].side == align::right;
        if (is_right)
            blanks += padding;
        if (!text.empty()) {
            out += blanks + (colour ? coloured(text, colour) : text);
            blanks.clear();
        }
        blanks += (is_right ? "" : padding) + gap;
    };
    const auto end_line = [&] {
        out += '\n';
        blanks.clear();
    };

    for (std::size_t i = 0; i < columns_.size(); ++i)
        put(i, columns_[i].title, colours ? bold : nullptr);
    end_line();
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < columns_.size(); ++i)
            put(i, printable(row[i].text), colours && row[i].late ? red : nullptr);
        end_line();
    }
    return out;
}

} // namespace haul::program
