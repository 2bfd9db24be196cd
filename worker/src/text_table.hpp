#ifndef HAUL_TEXT_TABLE_HPP
#define HAUL_TEXT_TABLE_HPP

#include <string>
#include <utility>
#include <vector>

namespace haul::program {

/// A table for people to read: columns aligned by their widest cell, numbers to the right.
class text_table {
public:
    enum class align { left, right };
    struct column {
        std::string title;
        align side = align::left;
    };
    struct cell {
        cell(std::string content, bool is_late = false) : text{std::move(content)}, late{is_late} {}
        cell(const char* content) : text{content} {}
        std::string text;
        bool late = false; ///< stands out in colour
    };

    explicit text_table(std::vector<column> columns) : columns_{std::move(columns)} {}

    /// As many cells as there are columns.
    void add(std::vector<cell> row) { rows_.push_back(std::move(row)); }
    bool empty() const { return rows_.empty(); }

    /// Each line ends with a newline and without blanks. What is not printable comes out as "?", so that no
    /// name can break the layout or command the terminal.
    std::string render(bool colours) const;

private:
    std::vector<column> columns_;
    std::vector<std::vector<cell>> rows_;
};

} // namespace haul::program

#endif
