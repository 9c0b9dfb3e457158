/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * resolvconf(8), openresolv's or Debian's: run by its full path with an argument vector, the text on its standard input, and a
 * limit on its time. It is the only program that this folder runs.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network/resolver-backend.h"
#include "util/macro.h"
#include "util/text.h"

#define PROGRAM_WAIT_MS 2000

/* systemd's resolvectl goes by that name, too; it writes no file. */
static bool is_resolvectl(const char *path)
{
	char target[256];
	ssize_t length = readlink(path, target, sizeof target - 1);
	target[length < 0 ? 0 : length] = '\0';
	return strcmp(target + strlen(target) - MIN_OF(strlen(target), strlen("resolvectl")), "resolvectl") == 0;
}

static const char *find_program(void)
{
	static const char *const places[] = {"/usr/local/sbin/resolvconf", "/usr/sbin/resolvconf", "/sbin/resolvconf", "/usr/bin/resolvconf"};
	for (size_t i = 0; i < ELEMENTSOF(places); i++)
		if (access(places[i], X_OK) == 0 && !is_resolvectl(places[i]))
			return places[i];
	return NULL;
}

bool resolvconf_exists(void)
{
	return find_program() != NULL;
}

/* The daemon blocks signals for its loop; the program must not inherit that. */
static int spawn(const char *program, char *const *arguments, int input, pid_t *ret)
{
	static char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	int r = posix_spawn_file_actions_init(&files);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
		posix_spawnattr_setsigmask(&attributes, &none);
		r = posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
		if (r == 0)
			r = posix_spawn(ret, program, &files, &attributes, arguments, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int wait_for(pid_t pid)
{
	_cleanup_close_ int handle = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd waiting = {.fd = handle, .events = POLLIN};
	int status, r;
	do
		r = handle < 0 ? 0 : poll(&waiting, 1, PROGRAM_WAIT_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (r <= 0)
		return -ETIMEDOUT;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int run(char *const *arguments, const char *text)
{
	const char *program = find_program();
	pid_t pid;
	if (!program)
		return -ENOENT;
	_cleanup_close_ int input = memfd_create("resolvconf", MFD_CLOEXEC);
	size_t length = strlen(text);
	if (input < 0 || write(input, text, length) != (ssize_t)length || lseek(input, 0, SEEK_SET) < 0)
		return -errno;
	int r = spawn(program, arguments, input, &pid);
	return r < 0 ? r : wait_for(pid);
}

/* Debian's orders what it was given by the names' beginnings, by interface-order(5): `tun*` goes before any uplink. */
static char *record_name(const char *interface)
{
	return text_format("tun.%s", interface);
}

int resolvconf_add(const char *interface, const char *text)
{
	/* openresolv's -m 0: before all others; -x: and to their exclusion. Debian's does not read them. As wg-quick(8) does it. */
	_cleanup_free_ char *name = record_name(interface);
	char *const arguments[] = {"resolvconf", "-a", name, "-m", "0", "-x", NULL};
	return run(arguments, text);
}

int resolvconf_delete(const char *interface)
{
	_cleanup_free_ char *name = record_name(interface);
	char *const arguments[] = {"resolvconf", "-d", name, "-f", NULL};
	return run(arguments, "");
}
