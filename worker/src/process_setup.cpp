#include "process_setup.hpp"

#include "descriptor_limit.hpp"

#include <csignal>
#include <fcntl.h>
#include <initializer_list>
#include <unistd.h>

namespace haul::program {

namespace {

// Open for reading and writing: who reads gets an end of file, and who writes no error.
void open_standard_descriptors() noexcept {
    for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(number, F_GETFD) >= 0)
            continue;
        // The lowest number that is free is this one.
        if (::open("/dev/null", O_RDWR) != number)
            ::_exit(1);
    }
}

void set_up_signals() noexcept {
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    ::sigaction(SIGCHLD, &by_default, nullptr);
    struct sigaction ignored {};
    ignored.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignored, nullptr);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

} // namespace

void set_up_process() noexcept {
    open_standard_descriptors();
    set_up_signals();
    core::raise_descriptor_limit();
}

} // namespace haul::program
