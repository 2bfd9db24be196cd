#include "help_formatter.hpp"

#include <iomanip>
#include <sstream>

namespace haul::program {

namespace {

constexpr int name_width = 28;

void add_line(std::ostream& out, const std::string& name, const std::string& description) {
    out << "  " << std::left << std::setw(name_width - 1) << name << ' ' << description << '\n';
}

std::string name_of(const CLI::Option& option) {
    const bool has_value = option.get_type_size() != 0;
    return option.get_name(false, true) + (has_value ? ' ' + option.get_type_name() : "");
}

} // namespace

std::string help_formatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode) const {
    const auto options = app->get_options([](const CLI::Option* option) { return option->nonpositional(); });
    const auto positionals =
        app->get_options([](const CLI::Option* option) { return option->get_positional(); });
    const auto commands = app->get_subcommands([](const CLI::App*) { return true; });

    std::ostringstream out;
    out << app->get_description() << "\nUsage: " << name << " [OPTIONS]";
    for (const auto* positional : positionals)
        out << " [" << positional->get_name(true, false) << ']';
    out << (commands.empty() ? "" : " [SUBCOMMAND]") << "\n\nOptions:\n";
    for (const auto* option : options)
        add_line(out, name_of(*option), option->get_description());
    if (!commands.empty())
        out << "\nSubcommands:\n";
    for (const auto* command : commands)
        add_line(out, command->get_name(), command->get_description());
    return out.str();
}

} // namespace haul::program
