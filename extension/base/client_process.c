/*
 * client_process.c: the process at the other end of a session, if it runs on this machine.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/socket.h>

/* The headers of what it may be built with need not be here; of a Port we want what stands in front
 * of all that. */
#undef ENABLE_GSS
#undef USE_OPENSSL
#undef USE_SSL
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "base/compat.h"
#include "base/client_process.h"

pid_t
client_process(void)
{
#ifdef SO_PEERCRED
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (MyProcPort != NULL && MyProcPort->raddr.addr.ss_family == AF_UNIX &&
		getsockopt(MyProcPort->sock, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
		return peer.pid;
#endif
	return 0;
}

/* Ended, but its parent has not asked for its status yet. */
static bool
is_zombie(pid_t process)
{
	char path[MAXPGPATH];
	char line[1024];
	FILE *file;
	char *state = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int) process);
	file = AllocateFile(path, "r");
	if (file == NULL)
		return false;
	/* the name, in parentheses, may hold anything */
	if (fgets(line, sizeof(line), file) != NULL)
		state = strrchr(line, ')');
	FreeFile(file);
	return state != NULL && strlen(state) > 2 && (state[2] == 'Z' || state[2] == 'X');
}

bool
process_is_gone(pid_t process)
{
	/* it may be another user's, who must not be sent signals */
	if (kill(process, 0) != 0 && errno == ESRCH)
		return true;
	return is_zombie(process);
}
