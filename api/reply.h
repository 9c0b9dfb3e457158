/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is answered: status, headers and body, made from a call or from a problem. */

#include <microhttpd.h>

#include "daemon/operations.h"

/*
 * An answer that is asked for again and again, made once: libmicrohttpd's response to one rendering. A server keeps its last one, and each
 * reply that is to be sent with it another reference.
 */
struct kept_answer {
	unsigned references;
	char *body;
	struct MHD_Response *response;
};
struct kept_answer *kept_answer_unref(struct kept_answer *kept); /* accepts NULL, returns NULL */

struct reply {
	struct kept_answer *kept; /* NULL: as the members below say */
	unsigned status;  /* 0: there is no reply yet */
	const char *type; /* of the body; NULL: no body */
	char *body;
	size_t length;
	char *etag;     /* without quotes */
	char *location; /* whole path */
	char *allow;    /* of a 405 */
	bool challenge; /* a 401 that says what would do */
};

void reply_done(struct reply *reply);

/* A problem document (RFC 9457) for OUTCOME, with a sentence. */
void reply_problem(struct reply *reply, enum outcome outcome, const char *format, ...) _printf_(3, 4);

/* What CALL came to. IF_NONE_MATCH (NULL: none) may make a 304 of it; pass it for GET and HEAD only. KEPT is the
 * server's, for a result that is kept rendered. */
void reply_call(
	struct reply *reply, const struct operation_call *call, const char *if_none_match, struct kept_answer **kept);

/* BODY is taken over. */
void reply_body(struct reply *reply, enum outcome outcome, const char *type, char *body, size_t length);

/* Queues REPLY, whose body goes with it. */
enum MHD_Result reply_send(struct reply *reply, struct MHD_Connection *connection);

/* The headers that every answer has. */
void reply_common_headers(struct MHD_Response *response);
