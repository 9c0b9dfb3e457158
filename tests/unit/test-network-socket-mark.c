/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The mark that a cgroup gives to the sockets made in it. Runs in a cgroup of its own. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "network/socket-mark.h"
#include "sandbox.h"
#include "suite.h"
#include "util/text.h"

#define MARK 0x68660000u

static uint32_t mark_of_new_socket(int family, int type)
{
	uint32_t mark = 0;
	socklen_t size = sizeof mark;
	_cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, 0);
	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size) == 0 ? mark : UINT32_MAX;
}

static bool enter(int cgroup)
{
	_cleanup_close_ int procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return procs >= 0 && write(procs, "0", 1) == 1;
}

/* Whether all of a child's sockets carry MARK when it runs in CGROUP; with -1 it stays where it is. */
static bool child_has_mark(int cgroup, uint32_t mark)
{
	static const int kinds[][2] = {
		{AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_STREAM}, {AF_INET6, SOCK_DGRAM}};
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		bool good = cgroup < 0 || enter(cgroup);
		for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
			good = good && mark_of_new_socket(kinds[i][0], kinds[i][1]) == mark;
		_exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static void sockets_are_marked_inside_and_nowhere_else(void)
{
	_cleanup_close_ int cgroup = -1;
	CU_ASSERT_EQUAL(socket_mark_cgroup("worker-home", MARK, &cgroup), 0);
	CU_ASSERT_EQUAL(fcntl(cgroup, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	CU_ASSERT_TRUE(child_has_mark(cgroup, MARK));
	CU_ASSERT_TRUE(child_has_mark(-1, 0));
	CU_ASSERT_EQUAL(socket_mark_cgroup_remove("worker-home"), 0);
	CU_ASSERT_EQUAL(access("/run/cgroup/worker-home", F_OK), -1);
}

static void the_mark_outlives_its_maker_and_can_be_replaced(void)
{
	_cleanup_close_ int first = -1, second = -1;
	CU_ASSERT_EQUAL(socket_mark_cgroup("worker-home", MARK, &first), 0);
	closep(&first);
	first = open("/run/cgroup/worker-home", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_TRUE(child_has_mark(first, MARK));
	/* More often than programs fit beside each other. */
	for (unsigned i = 0; i < 70; i++) {
		CU_ASSERT_EQUAL(socket_mark_cgroup("worker-home", MARK + i, &second), 0);
		closep(&second);
	}
	CU_ASSERT_TRUE(child_has_mark(first, MARK + 69));
	CU_ASSERT_EQUAL(socket_mark_cgroup_remove("worker-home"), 0);
}

static void removing_kills_who_is_inside(void)
{
	_cleanup_close_ int cgroup = -1;
	int ready[2], status = 0;
	char byte;
	CU_ASSERT_EQUAL(socket_mark_cgroup("worker-home", MARK, &cgroup), 0);
	CU_ASSERT_EQUAL_FATAL(pipe2(ready, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGTERM, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (enter(cgroup) && write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(EXIT_FAILURE);
	}
	CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
	CU_ASSERT_EQUAL(socket_mark_cgroup_contains("worker-home", child), 1);
	CU_ASSERT_EQUAL(socket_mark_cgroup_contains("worker", child), 0);
	CU_ASSERT_EQUAL(socket_mark_cgroup_contains("worker-home", getpid()), 0);
	CU_ASSERT_EQUAL_FATAL(socket_mark_cgroup_remove("worker-home"), 0);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CU_ASSERT_EQUAL(socket_mark_cgroup_contains("worker-home", child), -ESRCH);
	CU_ASSERT_EQUAL(socket_mark_cgroup_remove("worker-home"), 0);
	close(ready[0]);
	close(ready[1]);
}

static void names_stay_beneath_the_daemons_own_cgroup(void)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "../x", "/x", ".hidden", "a b"};
	int fd = -1;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		CU_ASSERT_EQUAL(socket_mark_cgroup(bad[i], MARK, &fd), -EINVAL);
		CU_ASSERT_EQUAL(socket_mark_cgroup_remove(bad[i]), -EINVAL);
	}
	CU_ASSERT_EQUAL(fd, -1);
}

static void from_a_cgroup_below_it_is_found_too(void)
{
	_cleanup_close_ int cgroup = -1;
	int status = -1;
	CU_ASSERT_EQUAL_FATAL(mkdir("/run/cgroup/holdfast.service", 0755), 0);
	pid_t child = fork();
	if (child == 0) {
		_cleanup_close_ int own = open("/run/cgroup/holdfast.service", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		bool good = enter(own) && socket_mark_cgroup("worker-home", MARK, &cgroup) == 0 && child_has_mark(cgroup, MARK) &&
			    access("/run/cgroup/holdfast.service/worker-home", F_OK) == 0 &&
			    socket_mark_cgroup_remove("worker-home") == 0;
		_exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(rmdir("/run/cgroup/holdfast.service"), 0);
}

static const struct test tests[] = {
	{"sockets are marked inside, and nowhere else", sockets_are_marked_inside_and_nowhere_else},
	{"the mark outlives its maker and can be replaced", the_mark_outlives_its_maker_and_can_be_replaced},
	{"removing kills who is inside", removing_kills_who_is_inside},
	{"names stay beneath the daemon's own cgroup", names_stay_beneath_the_daemons_own_cgroup},
	{"from a cgroup below it is found too", from_a_cgroup_below_it_is_found_too},
};

struct arguments {
	int count;
	char **values;
};

static int run(void *userdata)
{
	struct arguments *arguments = userdata;
	return suite_run("network-socket-mark", tests, ELEMENTSOF(tests), arguments->count, arguments->values);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {argc, argv};
	sandbox_enter();
	return sandbox_cgroup_run(run, &arguments);
}
