/*
 * command_runner.h: the background worker that has the commands of schedules run.
 */
#ifndef HAUL_COMMAND_RUNNER_H
#define HAUL_COMMAND_RUNNER_H

#include "postgres.h"

extern PGDLLEXPORT void haul_command_runner_main(Datum arg);

#endif
