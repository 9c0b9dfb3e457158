/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who is at the other end of a TCP connection: the token of a request says, else the certificate of the connection. An address says
 * nothing, loopback's neither: every user of the machine has that one. And since a browser lets any page send requests to loopback, who
 * it was addressed to (Host) and which page sent it (Origin) are looked at, too.
 */

#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/internal.h"
#include "api/tls.h"
#include "util/address.h"
#include "util/log.h"

#define BEARER "Bearer "
#define WRONG_TOKENS_MAX 10                   /* in a row; then those beyond one a second are not answered */
#define WRONG_TOKEN_USEC USEC_PER_SEC
#define HOST_MAX 256

/* ---- tokens ---- */

static const char *peer_text(int fd, char buffer[IP_TEXT_MAX])
{
	struct sockaddr_storage storage = {};
	socklen_t size = sizeof storage;
	struct ip_address address = {};
	if (getpeername(fd, (struct sockaddr *)&storage, &size) < 0)
		return "a client that left";
	address.family = storage.ss_family;
	if (storage.ss_family == AF_INET)
		memcpy(address.bytes, &((struct sockaddr_in *)&storage)->sin_addr, 4);
	else
		memcpy(address.bytes, &((struct sockaddr_in6 *)&storage)->sin6_addr, 16);
	return ip_address_format(buffer, &address);
}

/* Guessing 256 bits is hopeless however fast; this keeps a stream of guesses from costing answers and lines of the log. */
static bool may_be_answered(struct api_server *server)
{
	uint64_t now = clock_usec(CLOCK_MONOTONIC), full = WRONG_TOKENS_MAX * WRONG_TOKEN_USEC;
	uint64_t begun = MAX_OF(server->wrong_tokens_usec, now > full ? now - full : 0);
	if (begun + WRONG_TOKEN_USEC > now)
		return false;
	server->wrong_tokens_usec = begun + WRONG_TOKEN_USEC;
	return true;
}

static enum outcome refuse_token(struct connection *connection)
{
	char buffer[IP_TEXT_MAX];
	if (may_be_answered(connection->server))
		log_warning("api: %s showed a token that is none", peer_text(connection->fd, buffer));
	else
		connection->gone = true;
	return OUTCOME_UNAUTHORIZED;
}

/* ---- certificates ---- */

/* Kept with the connection: what it was verified by does not change while a server lives. */
static void identify_certificate(struct connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	struct api_server *server = connection->server;
	if (connection->identified || !server->tls || !info || !info->tls_session)
		return;
	connection->identified = true;
	connection->peer.scope = tls_client_scope(server->tls, info->tls_session, server->configuration, &connection->peer);
	connection->peer.uid = (uid_t)-1;
}

static enum outcome identify_tcp(struct connection *connection, struct caller *ret)
{
	const char *authorization = connection_header(connection, MHD_HTTP_HEADER_AUTHORIZATION);
	if (authorization) {
		bool bearer = strncasecmp(authorization, BEARER, strlen(BEARER)) == 0;
		if (bearer && manager_token(connection->server->manager, authorization + strlen(BEARER), ret))
			return OUTCOME_OK;
		return refuse_token(connection);
	}
	identify_certificate(connection);
	*ret = connection->peer;
	return ret->scope == SCOPE_NONE ? OUTCOME_UNAUTHORIZED : OUTCOME_OK;
}

/* ---- browsers ---- */

/* The host of "HOST[:PORT]", brackets taken off. False: it is none. */
static bool split_host(const char *header, char host[HOST_MAX])
{
	const char *begin = header, *end;
	if (header[0] == '[') {
		begin++;
		end = strchr(header, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
	} else {
		end = strchrnul(header, ':');
	}
	size_t length = (size_t)(end - begin);
	if (length == 0 || length >= HOST_MAX)
		return false;
	memcpy(host, begin, length);
	host[length] = 0;
	return true;
}

/* A page of a stranger's can make its own name mean our address, but never an address or a name of ours mean it. */
static bool is_our_name(const struct configuration *configuration, const char *host)
{
	struct ip_address address;
	if (ip_address_parse(host, &address) == 0 || strcasecmp(host, "localhost") == 0)
		return true;
	for (size_t i = 0; i < configuration->host_count; i++)
		if (strcasecmp(configuration->hosts[i], host) == 0)
			return true;
	return false;
}

static bool is_same_origin(const struct api_server *server, const char *origin, const char *host)
{
	const char *scheme = server->tls ? "https://" : "http://";
	return strncasecmp(origin, scheme, strlen(scheme)) == 0 && strcasecmp(origin + strlen(scheme), host) == 0;
}

static bool check_browser(struct connection *connection, char **ret_detail)
{
	const char *authority = connection->request->uri.authority;
	const char *header = authority ? authority : connection_header(connection, MHD_HTTP_HEADER_HOST);
	const char *origin = connection_header(connection, MHD_HTTP_HEADER_ORIGIN);
	char host[HOST_MAX];
	if (!header || !split_host(header, host) || !is_our_name(connection->server->configuration, host)) {
		*ret_detail = text_dup("Host is none of this machine's: use an address or localhost, or add the name to api.hosts in holdfast.json");
		return false;
	}
	if (origin && !is_same_origin(connection->server, origin, header)) {
		*ret_detail = text_dup("pages of other origins may ask nothing here");
		return false;
	}
	return true;
}

const struct transport transport_tcp = {"tcp", identify_tcp, EPOLLRDHUP, check_browser};
