/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is served beside the operations: the description of the interface, numbers, and whether the daemon lives and is ready. */

#include <string.h>

#include "api/internal.h"
#include "util/file.h"

static void healthz(struct api_server *server, struct reply *reply)
{
	reply_body(reply, OUTCOME_OK, "application/json", text_dup("{\"alive\":true}\n"), strlen("{\"alive\":true}\n"));
}

static void readyz(struct api_server *server, struct reply *reply)
{
	if (manager_ready(server->manager))
		reply_body(reply, OUTCOME_OK, "application/json", text_dup("{\"ready\":true}\n"),
			strlen("{\"ready\":true}\n"));
	else
		reply_problem(reply, OUTCOME_UNAVAILABLE,
			"the daemon is starting, or could not verify the gate; GET /v1/status tells");
}

/* Read each time: it is asked for rarely, and memory is scarcer than time. */
static void openapi(struct api_server *server, struct reply *reply)
{
	char *text;
	size_t length;
	int r = file_read(server->options.openapi, &text, &length);
	if (r < 0)
		reply_problem(reply, OUTCOME_NOT_FOUND, "%s cannot be read: %s", server->options.openapi, strerror(-r));
	else
		reply_body(reply, OUTCOME_OK, "application/yaml", text, length);
}

static void metrics(struct api_server *server, struct reply *reply)
{
	size_t length;
	char *text = metrics_render(server, &length);
	reply_body(reply, OUTCOME_OK, "text/plain; version=0.0.4; charset=utf-8", text, length);
}

struct page {
	const char *path; /* beneath / */
	bool is_public;
	void (*reply)(struct api_server *server, struct reply *reply);
};

static const struct page pages[] = {
	{"healthz", true, healthz},
	{"readyz", false, readyz},
	{"metrics", false, metrics},
	{"openapi.yaml", false, openapi},
};

const struct page *page_find(const struct uri *uri)
{
	for (size_t i = 0; i < ELEMENTSOF(pages); i++)
		if (uri->segment_count == 1 && strcmp(uri->segments[0], pages[i].path) == 0)
			return &pages[i];
	return NULL;
}

bool page_is_public(const struct page *page)
{
	return page->is_public;
}

void page_reply(const struct page *page, struct api_server *server, const char *method, struct reply *reply)
{
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
		page->reply(server, reply);
		return;
	}
	reply_problem(reply, OUTCOME_METHOD_NOT_ALLOWED, "/%s can be read only", page->path);
	reply->allow = text_dup("GET, HEAD");
}
