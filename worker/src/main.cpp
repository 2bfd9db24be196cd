#include "command_line.hpp"
#include "fault.hpp"
#include "info.hpp"
#include "process_setup.hpp"

#include "haul/worker.hpp"

#include <iostream>

namespace program = haul::program;

namespace {

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

void add(haul::worker& worker, const haul::handler_spec& spec) {
    try {
        worker.add(spec);
    } catch (const haul::error& e) {
        throw program::usage_error{"the handler of kind \"" + spec.kind + "\": " + e.what(), e.sqlstate(),
                                   e.detail(), e.hint()};
    }
}

int run(const program::settings& settings) {
    auto options = settings.worker;
    options.reap_orphans = true; // this thread has no other children, but those of the shell that became haul
    haul::worker worker{options};
    for (const auto& spec : settings.handlers)
        add(worker, spec);
    return worker.run();
}

int execute(const program::command& command) {
    switch (command.what) {
    case program::command::verb::print:
        std::cout << command.text;
        return 0;
    case program::command::verb::run:
        return run(command.settings);
    case program::command::verb::info:
        return program::print_info(command.settings.worker.dsn);
    }
    return exit_failure;
}

int report(const haul::error& error, int status) {
    std::cerr << "haul: " << error.what() << '\n';
    if (!error.detail().empty())
        std::cerr << "detail: " << error.detail() << '\n';
    if (const auto hint = haul::core::advice(error); !hint.empty())
        std::cerr << "hint: " << hint << '\n';
    return status;
}

} // namespace

int main(int argc, char** argv) {
    program::set_up_process();
    try {
        return execute(program::parse_command_line({argv + 1, argv + argc}));
    } catch (const program::usage_error& e) {
        return report(e, exit_usage);
    } catch (const haul::error& e) {
        return report(e, exit_failure);
    } catch (const std::exception& e) {
        std::cerr << "haul: " << e.what() << '\n';
        return exit_failure;
    }
}
