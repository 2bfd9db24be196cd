#include "unavailable.hpp"

#include <cerrno>
#include <system_error>

namespace haul::core {

void throw_system_error(int number, const std::string& what) {
    switch (number) {
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ENOMEM:
    case ENOSPC:  // of process ids in a namespace
    case ETXTBSY: // the program's file is being written
        throw unavailable{what + ": " + std::generic_category().message(number)};
    default:
        throw std::system_error{number, std::generic_category(), what};
    }
}

} // namespace haul::core
