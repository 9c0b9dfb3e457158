/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The endpoint's address, found, and tried for a route before it is named to anybody. */

#include "tunnel/contact.h"

#include <errno.h>

#include "tunnel/marked-socket.h"
#include "tunnel/resolve.h"
#include "util/log.h"
#include "util/text.h"

struct contact {
	sd_event *event;
	const struct tunnel_config *config;
	uint32_t mark;
	contact_found found;
	void *userdata;
	size_t index;
	struct resolve_memory *names; /* one for each endpoint */
	struct resolve *resolve;
};

/* Whether the client's packets would find a route; nothing is sent. */
static bool is_reachable(const struct contact *contact, const struct endpoint *endpoint)
{
	_cleanup_close_ int fd = marked_socket_connect(endpoint, contact->mark);
	return fd != -EAFNOSUPPORT && fd != -ENETUNREACH && fd != -EHOSTUNREACH && fd != -EADDRNOTAVAIL;
}

static void tell_unreachable(struct contact *contact, const char *where)
{
	char detail[WORKER_DETAIL_MAX];
	snprintf(detail, sizeof detail, "there is no route to %s", where);
	contact->found(contact->userdata, NULL, TUNNEL_ERROR_NETWORK_UNREACHABLE, detail);
}

static void choose_literal(struct contact *contact)
{
	char text[ENDPOINT_TEXT_MAX];
	struct endpoint endpoint = contact->config->endpoints[contact->index].endpoint;
	if (is_reachable(contact, &endpoint))
		contact->found(contact->userdata, &endpoint, TUNNEL_ERROR_NONE, NULL);
	else
		tell_unreachable(contact, endpoint_format(text, &endpoint));
}

/* A host with one IP version alone is answered both kinds of addresses: the first with a route is taken. */
static void choose_of_name(struct contact *contact)
{
	const struct tunnel_endpoint *named = &contact->config->endpoints[contact->index];
	struct resolve_memory *memory = &contact->names[contact->index];
	size_t first = resolve_memory_first(memory);
	struct endpoint endpoint = named->endpoint;
	for (size_t i = 0; i < memory->count; i++) {
		size_t index = (first + i) % memory->count;
		endpoint.address = memory->addresses[index];
		if (!is_reachable(contact, &endpoint))
			continue;
		resolve_memory_take(memory, index);
		contact->found(contact->userdata, &endpoint, TUNNEL_ERROR_NONE, NULL);
		return;
	}
	tell_unreachable(contact, named->host);
}

static void name_resolved(void *userdata, const struct ip_address *addresses, size_t count, const char *detail)
{
	struct contact *contact = userdata;
	struct resolve_memory *memory = &contact->names[contact->index];
	resolve_memory_keep(memory, addresses, count);
	if (memory->count == 0) {
		contact->found(contact->userdata, NULL, TUNNEL_ERROR_NAME_RESOLUTION_FAILED, detail);
		return;
	}
	if (count == 0)
		log_notice("%s; going on with the addresses that it had before", detail);
	contact->resolve = resolve_free(contact->resolve);
	choose_of_name(contact);
}

struct contact *contact_new(
        sd_event *event, const struct tunnel_config *config, uint32_t mark, contact_found found, void *userdata)
{
	struct contact *contact = xcalloc(1, sizeof *contact);
	*contact = (struct contact){
	        .event = sd_event_ref(event),
	        .config = config,
	        .mark = mark,
	        .found = found,
	        .userdata = userdata,
	        .names = xcalloc(config->endpoint_count, sizeof *contact->names),
	};
	return contact;
}

int contact_begin(struct contact *contact, size_t index, const struct worker_resolvers *resolvers)
{
	contact_cancel(contact);
	if (index >= contact->config->endpoint_count)
		return -EINVAL;
	const struct tunnel_endpoint *endpoint = &contact->config->endpoints[index];
	contact->index = index;
	if (endpoint->is_literal) {
		choose_literal(contact);
		return 0;
	}
	const struct resolve_question question = {endpoint->host, *resolvers, 0, contact->mark};
	return resolve_new(&contact->resolve, contact->event, &question, name_resolved, contact);
}

void contact_cancel(struct contact *contact)
{
	contact->resolve = resolve_free(contact->resolve);
}

void contact_stood(struct contact *contact)
{
	contact->names[contact->index].stood = true;
}

struct contact *contact_free(struct contact *contact)
{
	if (!contact)
		return NULL;
	resolve_free(contact->resolve);
	sd_event_unref(contact->event);
	free(contact->names);
	free(contact);
	return NULL;
}
