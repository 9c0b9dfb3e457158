/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A worker that plays one part, told by its tunnel's id: what a broken, hung or hostile one would do. Started as the
 * real one is. */

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tunnel/protocol.h"
#include "tunnel/worker-spawn.h"
#include "util/macro.h"
#include "util/text.h"

static char nonce[WORKER_NONCE_SIZE * 2 + 1];
static const char *tunnel, *socket_path;

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, socket_path, sizeof address.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		_exit(70);
	return fd;
}

static void say(int fd, const char *text, size_t length)
{
	(void)send(fd, text, length, MSG_NOSIGNAL);
}

static void tell(int fd, const struct worker_message *message)
{
	_cleanup_free_ char *text = worker_message_encode(message);
	say(fd, text, strlen(text));
}

static void hello(int fd, const char *with_nonce)
{
	struct worker_message message = {.type = WORKER_MESSAGE_HELLO};
	strcpy(message.hello.tunnel, tunnel);
	strcpy(message.hello.nonce, with_nonce);
	tell(fd, &message);
}

static void wait_for_the_end(void)
{
	for (;;)
		pause();
}

static void play_good(int fd)
{
	hello(fd, nonce);
	wait_for_the_end();
}

static void play_forger(int fd)
{
	static const char wrong[] = "0000000000000000000000000000000000000000000000000000000000000000";
	hello(fd, wrong);
	wait_for_the_end();
}

/* The nonce is right, the process is not. */
static void play_proxy(int fd)
{
	close(fd);
	if (fork() == 0)
		hello(dial(), nonce);
	wait_for_the_end();
}

/* On a machine so slow that it never comes to its hello, until it is told to. */
static void play_slow(int fd)
{
	_cleanup_free_ char *go = text_format("%s.go", socket_path);
	close(fd);
	while (access(go, F_OK) < 0)
		;
	play_good(dial());
}

static void play_silent(int fd)
{
	wait_for_the_end();
}

static void play_garbage(int fd)
{
	hello(fd, nonce);
	say(fd, "{\"type\":\"up\"", 12);
	wait_for_the_end();
}

static void play_windbag(int fd)
{
	static char text[WORKER_MESSAGE_MAX + 1];
	hello(fd, nonce);
	memset(text, ' ', sizeof text);
	say(fd, text, sizeof text);
	wait_for_the_end();
}

static void play_flood(int fd)
{
	hello(fd, nonce);
	for (;;)
		tell(fd, &(struct worker_message){.type = WORKER_MESSAGE_TRAFFIC});
}

static void play_early(int fd)
{
	hello(fd, nonce);
	tell(fd, &(struct worker_message){
	                 .type = WORKER_MESSAGE_WILL_STOP, .attempt = 1, .error = TUNNEL_ERROR_UNKNOWN});
	wait_for_the_end();
}

static void play_twice(int fd)
{
	hello(fd, nonce);
	hello(fd, nonce);
	wait_for_the_end();
}

static void play_quitter(int fd)
{
	hello(fd, nonce);
	_exit(7);
}

static void play_deaf(int fd)
{
	hello(fd, nonce);
	close(fd);
	wait_for_the_end();
}

/* Answers the first order too late: the second overtook it. */
static void play_late(int fd)
{
	char buffer[WORKER_MESSAGE_MAX];
	hello(fd, nonce);
	for (int orders = 0; orders < 2; orders++)
		if (recv(fd, buffer, sizeof buffer, 0) <= 0)
			_exit(71);
	tell(fd, &(struct worker_message){
	                 .type = WORKER_MESSAGE_WILL_STOP, .attempt = 1, .error = TUNNEL_ERROR_UNKNOWN});
	tell(fd, &(struct worker_message){
	                 .type = WORKER_MESSAGE_WILL_STOP, .attempt = 2, .error = TUNNEL_ERROR_SERVER_BUSY});
	wait_for_the_end();
}

static struct worker_message await_start(int fd)
{
	static char buffer[WORKER_MESSAGE_MAX];
	struct worker_message message = {};
	ssize_t length = recv(fd, buffer, sizeof buffer, 0);
	if (length <= 0 || worker_message_decode(buffer, (size_t)length, &message) < 0)
		_exit(71);
	return message;
}

/* Names a server that is not its tunnel's, and would have the gate opened for it. */
static void play_liar(int fd)
{
	hello(fd, nonce);
	struct worker_message order = await_start(fd);
	struct worker_message message = {.type = WORKER_MESSAGE_CONTACTING, .attempt = order.attempt};
	endpoint_parse("198.51.100.2:40001/udp", &message.endpoint);
	tell(fd, &message);
	wait_for_the_end();
}

/* Says that it is up, and was never told that it may talk to anybody. */
static void play_eager(int fd)
{
	hello(fd, nonce);
	struct worker_message order = await_start(fd);
	struct worker_message message = {.type = WORKER_MESSAGE_UP, .attempt = order.attempt};
	endpoint_parse("203.0.113.2:51820/udp", &message.network.endpoint);
	tell(fd, &message);
	wait_for_the_end();
}

/* Wants the tunnel's device configured before the gate is open for anybody. */
static void play_grabber(int fd)
{
	hello(fd, nonce);
	struct worker_message order = await_start(fd);
	tell(fd, &(struct worker_message){
	                 .type = WORKER_MESSAGE_ASK_DEVICE, .attempt = order.attempt, .request = DEVICE_CONFIGURE});
	wait_for_the_end();
}

static const struct {
	const char *name;
	void (*play)(int fd);
} parts[] = {
        {"good", play_good},
        {"liar", play_liar},
        {"eager", play_eager},
        {"grabber", play_grabber},
        {"forger", play_forger},
        {"slow", play_slow},
        {"proxy", play_proxy},
        {"silent", play_silent},
        {"garbage", play_garbage},
        {"windbag", play_windbag},
        {"flood", play_flood},
        {"early", play_early},
        {"twice", play_twice},
        {"quitter", play_quitter},
        {"deaf", play_deaf},
        {"late", play_late},
};

int main(int argc, char **argv)
{
	if (argc != 3 || read(WORKER_NONCE_FD, nonce, sizeof nonce - 1) != sizeof nonce - 1)
		return 64;
	tunnel = argv[1];
	socket_path = argv[2];
	for (size_t i = 0; i < ELEMENTSOF(parts); i++)
		if (strcmp(parts[i].name, tunnel) == 0)
			parts[i].play(dial());
	return 65;
}
