#include "yaml_entry.hpp"

#include "text.hpp"
#include "utf8.hpp"

#include <cctype>
#include <charconv>
#include <set>

namespace haul::program {

namespace {

bool decode(const YAML::Node& node, bool& value) {
    return YAML::convert<bool>::decode(node, value);
}

/// A number in decimal. One with a leading zero is octal to some readers of YAML, and decimal to others.
template <typename T>
bool decode_number(const std::string& text, T& value) {
    const auto digits = text.find_first_not_of('-');
    const bool is_ambiguous = digits != std::string::npos && text[digits] == '0' &&
                              digits + 1 < text.size() &&
                              std::isdigit(static_cast<unsigned char>(text[digits + 1]));
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    return !is_ambiguous && problem == std::errc{} && end == text.data() + text.size();
}

/// 0.5 as "0.5" and 60.0 as "60".
std::string short_text(double value) {
    std::string text = std::to_string(value);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.')
        text.pop_back();
    return text;
}

} // namespace

std::string yaml_place(const std::string& file, const YAML::Mark& mark) {
    return mark.is_null() ? file : file + ':' + std::to_string(mark.line + 1);
}

void yaml_entry::fail(const std::string& message) const {
    throw usage_error{yaml_place(file_, mark_) + ": " + path_ + ": " + message};
}

bool yaml_entry::is_boolean() const {
    bool value = false;
    return is_plain() && decode(value_, value);
}

std::string yaml_entry::text() const {
    if (!is_text())
        fail("must be a text");
    if (!core::is_utf8(value_.Scalar()))
        fail("must be UTF-8 text without the character NUL");
    return value_.Scalar();
}

std::string yaml_entry::text(std::size_t longest) const {
    std::string value = text();
    if (value.empty() || utf8_length(value) > longest)
        fail("must have 1 to " + std::to_string(longest) + " characters");
    return value;
}

bool yaml_entry::boolean() const {
    bool value = false;
    if (!is_plain() || !decode(value_, value))
        fail("must be true or false" + actual());
    return value;
}

long long yaml_entry::integer(long long least, long long most) const {
    long long value = 0;
    if (!is_plain() || !decode_number(value_.Scalar(), value) || value < least || value > most)
        fail("must be a whole number without leading zeros between " + std::to_string(least) + " and " +
             std::to_string(most) + actual());
    return value;
}

double yaml_entry::number(double least, double most) const {
    double value = 0;
    if (!is_plain() || !decode_number(value_.Scalar(), value) || !(value >= least && value <= most))
        fail("must be a number without leading zeros between " + short_text(least) + " and " +
             short_text(most) + actual());
    return value;
}

std::chrono::milliseconds yaml_entry::seconds(double least) const {
    return seconds_to_ms(number(least, longest_seconds));
}

std::vector<std::string> yaml_entry::texts() const {
    std::vector<std::string> result;
    for (const auto& item : items())
        result.push_back(item.text());
    return result;
}

std::vector<yaml_entry> yaml_entry::items() const {
    if (!is_list())
        fail("must be a list");
    std::vector<yaml_entry> result;
    for (const auto& item : value_)
        result.emplace_back(file_, path_ + '[' + std::to_string(result.size()) + ']', "", item, item);
    return result;
}

std::vector<yaml_entry> yaml_entry::members() const {
    if (is_empty())
        return {};
    if (!is_mapping())
        fail("must be a mapping");
    std::vector<yaml_entry> result;
    std::set<std::string> keys;
    for (const auto& member : value_) {
        if (!member.first.IsScalar())
            fail("has a key that is not a text");
        const std::string& key = member.first.Scalar();
        if (!core::is_utf8(key))
            fail("has a key that is not UTF-8 text without the character NUL");
        result.emplace_back(file_, path_.empty() ? key : path_ + '.' + key, key, member.first, member.second);
        if (!keys.insert(key).second)
            result.back().fail("is given twice");
    }
    return result;
}

/// Not quoted: "5" in quotes is a text.
bool yaml_entry::is_plain() const {
    return value_.IsScalar() && value_.Tag() != "!";
}

std::string yaml_entry::actual() const {
    return is_text() ? ", not \"" + printable(value_.Scalar()) + '"' : "";
}

} // namespace haul::program
