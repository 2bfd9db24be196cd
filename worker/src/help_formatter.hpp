#ifndef HAUL_HELP_FORMATTER_HPP
#define HAUL_HELP_FORMATTER_HPP

#include <CLI/CLI.hpp>
#include <string>

namespace haul::program {

/// The help of a command, in the same words and lines with every version of CLI11.
class help_formatter : public CLI::FormatterBase {
public:
    std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

} // namespace haul::program

#endif
