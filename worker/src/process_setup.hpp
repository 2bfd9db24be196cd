#ifndef HAUL_PROCESS_SETUP_HPP
#define HAUL_PROCESS_SETUP_HPP

namespace haul::program {

/// Replaces what the process inherited from whoever started it by what the worker relies on:
///
/// - descriptors 0 to 2 that are closed are opened on /dev/null, so that nothing else gets their numbers and
///   receives what is written to standard error;
/// - SIGCHLD has its default disposition: while it is ignored, no status of a program can be had;
/// - SIGPIPE is ignored: a reader of the log that went away is no reason to end;
/// - no signal is blocked;
/// - as many descriptors may be opened as the hard limit permits.
///
/// What else is ignored stays so: it is somebody's wish, as with nohup. To be called first, while there is
/// one thread. Ends the process when there is no /dev/null, since nothing could tell.
void set_up_process() noexcept;

} // namespace haul::program

#endif
