/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Answers. Every error is a problem document, every success the result itself as one line of JSON. */

#include "api/reply.h"

#include <stdarg.h>
#include <string.h>

#include "api/arguments.h"
#include "api/route.h"
#include "util/fields.h"
#include "util/text.h"

#define JSON        "application/json"
#define PROBLEM     "application/problem+json"
#define ERROR_URN   "urn:holdfast:error:"
#define JSON_FORMAT (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

void reply_done(struct reply *reply)
{
	kept_answer_unref(reply->kept);
	free(reply->body);
	free(reply->etag);
	free(reply->location);
	free(reply->allow);
	*reply = (struct reply){};
}

void reply_body(struct reply *reply, enum outcome outcome, const char *type, char *body, size_t length)
{
	reply->status = (unsigned)outcome_status(outcome);
	reply->type = type;
	reply->body = body;
	reply->length = length;
}

static void reply_json(struct reply *reply, enum outcome outcome, const char *type, json_object *object)
{
	char *body = text_format("%s\n", json_object_to_json_string_ext(object, JSON_FORMAT));
	reply_body(reply, outcome, type, body, strlen(body));
}

static json_object *problem_new(enum outcome outcome, const char *detail)
{
	_cleanup_free_ char *type = text_format(ERROR_URN "%s", outcome_to_string(outcome));
	json_object *problem = json_object_new_object();
	json_object_object_add(problem, "type", json_object_new_string(type));
	json_object_object_add(problem, "title", json_object_new_string(outcome_title(outcome)));
	json_object_object_add(problem, "status", json_object_new_int(outcome_status(outcome)));
	json_object_object_add(problem, "detail", json_object_new_string(detail));
	json_object_object_add(problem, "code", json_object_new_string(outcome_to_string(outcome)));
	return problem;
}

void reply_problem(struct reply *reply, enum outcome outcome, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	_cleanup_free_ char *detail = text_vformat(format, arguments);
	va_end(arguments);
	_cleanup_json_ json_object *problem = problem_new(outcome, detail);
	reply_json(reply, outcome, PROBLEM, problem);
}

/* The operation's own sentence; else the first finding, so that whoever reads only `detail` knows where to look. */
static char *detail_of(const struct operation_call *call)
{
	if (call->detail)
		return text_dup(call->detail);
	for (size_t i = 0; i < call->problems.count; i++) {
		const struct problem *problem = &call->problems.items[i];
		size_t more = call->problems.errors - 1;
		if (problem->warning)
			continue;
		if (more == 0)
			return text_format(
				"%s%s%s", problem->pointer, problem->pointer[0] ? ": " : "", problem->detail);
		return text_format("%s%s%s; and %zu more", problem->pointer, problem->pointer[0] ? ": " : "",
			problem->detail, more);
	}
	return text_dup(outcome_title(call->outcome));
}

static void reply_failure(struct reply *reply, const struct operation_call *call)
{
	_cleanup_free_ char *detail = detail_of(call);
	_cleanup_json_ json_object *problem = problem_new(call->outcome, detail);
	if (call->problems.errors)
		json_object_object_add(problem, "errors", problems_to_json(&call->problems, false));
	if (call->problems.warnings)
		json_object_object_add(problem, "warnings", problems_to_json(&call->problems, true));
	reply_json(reply, call->outcome, PROBLEM, problem);
}

/* The body goes with the response: libmicrohttpd may still be sending it when nobody here has it any more. */
static void free_body(void *body)
{
	free(body);
}

static struct kept_answer *kept_answer_new(const char *body)
{
	struct kept_answer *kept = xcalloc(1, sizeof *kept);
	kept->references = 1;
	kept->body = text_dup(body);
	kept->response = MHD_create_response_from_buffer_with_free_callback(strlen(body), kept->body, free_body);
	if (!kept->response) {
		free(kept->body);
		return kept_answer_unref(kept);
	}
	reply_common_headers(kept->response);
	MHD_add_response_header(kept->response, MHD_HTTP_HEADER_CONTENT_TYPE, JSON);
	return kept;
}

struct kept_answer *kept_answer_unref(struct kept_answer *kept)
{
	if (!kept || --kept->references > 0)
		return NULL;
	if (kept->response)
		MHD_destroy_response(kept->response);
	free(kept);
	return NULL;
}

static bool reply_rendered(struct reply *reply, const struct operation_call *call, struct kept_answer **kept)
{
	if (!*kept || strcmp((*kept)->body, call->rendered) != 0) {
		kept_answer_unref(*kept);
		*kept = kept_answer_new(call->rendered);
	}
	if (!*kept)
		return false;
	(*kept)->references++;
	reply->kept = *kept;
	reply->status = (unsigned)outcome_status(call->outcome);
	return true;
}

static void reply_success(struct reply *reply, const struct operation_call *call, struct kept_answer **kept)
{
	json_object *result = call->result;
	if (!result) {
		reply->status = MHD_HTTP_NO_CONTENT;
		return;
	}
	if (call->problems.warnings && json_object_is_type(result, json_type_object) &&
		!json_object_object_get_ex(result, "warnings", NULL))
		json_object_object_add(result, "warnings", problems_to_json(&call->problems, true));
	if (!call->rendered || !reply_rendered(reply, call, kept))
		reply_json(reply, call->outcome, JSON, result);
}

void reply_call(struct reply *reply, const struct operation_call *call, const char *if_none_match, struct kept_answer **kept)
{
	if (outcome_status(call->outcome) >= 300) {
		reply_failure(reply, call);
		return;
	}
	reply->etag = text_dup(call->etag);
	reply->location = call->location ? text_format("/" ROUTE_VERSION "%s", call->location) : NULL;
	if (call->etag && arguments_none_match(if_none_match, call->etag))
		reply->status = MHD_HTTP_NOT_MODIFIED;
	else
		reply_success(reply, call, kept);
}

void reply_common_headers(struct MHD_Response *response)
{
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
}

enum MHD_Result reply_send(struct reply *reply, struct MHD_Connection *connection)
{
	if (reply->kept)
		return MHD_queue_response(connection, reply->status, reply->kept->response);
	/* The body is handed over; an absent one is static, since MHD frees what it is told to free only where there is
	 * something. */
	struct MHD_Response *response = MHD_create_response_from_buffer(reply->length,
		reply->body ? reply->body : (void *)"", reply->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	reply->body = NULL;
	reply_common_headers(response);
	if (reply->type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
	if (reply->challenge)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"holdfast\"");
	if (reply->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
	if (reply->location)
		MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, reply->location);
	if (reply->etag) {
		_cleanup_free_ char *quoted = text_format("\"%s\"", reply->etag);
		MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, quoted);
	}
	enum MHD_Result result = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return result;
}
