/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The rig of the tests of api/. */

#include "tests/unit/api-rig.h"

#include <grp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/configuration.h"
#include "util/fields.h"

static struct sockaddr_un address_of(const struct rig *rig)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, rig->path, sizeof address.sun_path - 1);
	return address;
}

static int listen_at(const struct rig *rig)
{
	struct sockaddr_un address = address_of(rig);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0 ||
		chmod(rig->path, 0666) < 0)
		abort();
	return fd;
}

static struct rig *rig_begin(void)
{
	struct rig *rig = xcalloc(1, sizeof *rig);
	strcpy(rig->folder, "/tmp/holdfast-api-XXXXXX");
	if (!mkdtemp(rig->folder) || chmod(rig->folder, 0755) < 0 || sd_event_new(&rig->event) < 0)
		abort();
	snprintf(rig->path, sizeof rig->path, "%s/api.sock", rig->folder);
	rig->manager = fake_manager_new();
	return rig;
}

struct rig *rig_new_tcp(const char *api, const struct api_options *options)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = json_tokener_parse(api);
	_cleanup_(configuration_unrefp) struct configuration *configuration = NULL;
	struct rig *rig = rig_begin();
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (configuration_parse(document, &configuration, &problems) < 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		listen(fd, SOMAXCONN) < 0 || getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		abort();
	rig->port = ntohs(address.sin_port);
	if (api_server_new_tcp(&rig->server, rig->event, rig->manager, fd, configuration, NULL, options ? options : &(struct api_options){}) < 0)
		abort();
	return rig;
}

struct rig *rig_new(const struct api_options *options)
{
	struct rig *rig = rig_begin();
	int fd = listen_at(rig);
	int r = options ? api_server_new_unix_full(&rig->server, rig->event, rig->manager, fd, CONTROL_GID, options)
			: api_server_new_unix(&rig->server, rig->event, rig->manager, fd, CONTROL_GID);
	if (r < 0)
		abort();
	return rig;
}

struct rig *rig_free(struct rig *rig)
{
	rig->server = api_server_free(rig->server);
	rig->manager = fake_manager_free(rig->manager);
	sd_event_unref(rig->event);
	unlink(rig->path);
	rmdir(rig->folder);
	free(rig);
	return NULL;
}

static int connect_tcp(const struct rig *rig)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)rig->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		abort();
	return fd;
}

struct client *rig_client(struct rig *rig)
{
	if (rig->port)
		return client_new_fd(rig->event, connect_tcp(rig));
	return client_new(rig->event, rig->path);
}

/* --- as somebody else --- */

static void send_fd(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof fd)] = {};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	_exit(sendmsg(to, &message, 0) == 1 ? 0 : 1);
}

static int receive_fd(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	int fd = -1;
	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != 1)
		abort();
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

/* A child becomes the other and connects; what the server sees are the child's credentials, whoever then holds the
 * socket. */
struct client *rig_client_as(struct rig *rig, uid_t uid, gid_t gid, gid_t supplementary)
{
	int pair[2];
	struct sockaddr_un address = address_of(rig);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	pid_t child = fork();
	if (child == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (setgroups(1, &supplementary) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
			connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
			_exit(1);
		send_fd(pair[1], fd);
	}
	int fd = receive_fd(pair[0]);
	waitpid(child, NULL, 0);
	close(pair[0]);
	close(pair[1]);
	return client_new_fd(rig->event, fd);
}

/* --- asking --- */

struct response client_ask(
	struct client *client, const char *method, const char *target, const char *headers, const char *body)
{
	_cleanup_text_ struct text request = TEXT_NULL;
	text_append(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target, headers);
	if (body)
		text_append(&request, "Content-Length: %zu\r\n", strlen(body));
	text_append(&request, "\r\n%s", body ? body : "");
	client_send_bytes(client, request.bytes, request.length);
	return client_receive(client, strcmp(method, "HEAD") == 0);
}

struct response rig_ask(struct rig *rig, const char *method, const char *target, const char *headers, const char *body)
{
	struct client *client = rig_client(rig);
	struct response response = client_ask(client, method, target, headers, body);
	client_free(client);
	loop_settle(rig->event);
	return response;
}

const char *response_member(const struct response *response, const char *path)
{
	static char value[4096];
	json_object *object = response->body ? json_tokener_parse(response->body) : NULL, *at = object;
	_cleanup_free_ char *copy = text_dup(path);
	char *rest = copy;
	for (char *name; at && (name = strsep(&rest, "."));)
		at = json_object_is_type(at, json_type_array) ? json_object_array_get_idx(at, strtoul(name, NULL, 10))
							      : json_object_object_get(at, name);
	snprintf(value, sizeof value, "%s",
		!at ? ""
		: json_object_is_type(at, json_type_string)
			? json_object_get_string(at)
			: json_object_to_json_string_ext(at, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
	return value;
}
