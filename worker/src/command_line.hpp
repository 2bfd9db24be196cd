#ifndef HAUL_COMMAND_LINE_HPP
#define HAUL_COMMAND_LINE_HPP

#include "config.hpp"

#include <string>
#include <vector>

namespace haul::program {

/// What the program was asked to do.
struct command {
    enum class verb {
        print, ///< print `text`: help or version
        run,   ///< run a worker
        info,  ///< show what goes on in the database
    };
    verb what = verb::print;
    std::string text;
    program::settings settings; ///< of info, only settings.worker.dsn counts
};

/// Reads the arguments (without the program's name) and the configuration file that they name. What a flag
/// says goes before what the file says; list-valued flags replace the file's list, except --handler, which
/// replaces handlers kind by kind. Throws usage_error.
command parse_command_line(const std::vector<std::string>& arguments);

} // namespace haul::program

#endif
