/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The operations: one table, from which the REST routes, the D-Bus vtables, the command line and the reference page grow. A front
 * translates its own form into a `struct operation_call`, starts it, and translates what comes back. Fronts decide nothing and
 * touch nothing that lies under the operations; all they include of daemon/ is this header and configuration.h, which is data.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/problem.h"
#include "util/string-table.h"

/*
 * The priority in the event loop of what a front hears from its clients (sd_event_source_set_priority(3); the daemon's own sources have
 * SD_EVENT_PRIORITY_NORMAL, 0, or less). Whatever a crowd of clients does, news of a tunnel, the kernel or a deadline is dealt with first.
 */
#define FRONTS_PRIORITY 10

struct manager; /* the daemon's whole state; opaque to fronts */

enum scope { SCOPE_NONE, SCOPE_READ, SCOPE_CONTROL, SCOPE_ADMIN }; /* ordered: a greater one includes the lesser */
STRING_TABLE(scope, enum scope);

enum outcome {
#define OUTCOME(constant, code, status, title) OUTCOME_##constant,
#include "daemon/outcome.def"
#undef OUTCOME
	OUTCOME_COUNT,
};
STRING_TABLE(outcome, enum outcome); /* the codes */
int outcome_status(enum outcome outcome); /* HTTP */
const char *outcome_title(enum outcome outcome);

enum dbus_interface { DBUS_NONE, DBUS_MANAGER, DBUS_KILL_SWITCH, DBUS_POLICY, DBUS_TUNNEL };

enum parameter_place {
	PLACE_PATH,	/* {name} in the path; over D-Bus the object for DBUS_TUNNEL's id, else an argument */
	PLACE_QUERY,	/* ?name= */
	PLACE_BODY,	/* a member of the JSON body */
	PLACE_DOCUMENT, /* the whole JSON body is `document` */
	PLACE_RAW,	/* the whole body, not JSON, is `text` */
};

/*
 * A parameter or a result. SIGNATURE is its D-Bus type; the JSON type follows from it: s string, b boolean, t integer, as array of
 * strings. A document is the body itself over REST; over D-Bus `s` is JSON text, for what is kept as it was written, and a{sv} the rest.
 */
struct parameter {
	const char *name;
	enum parameter_place place;
	const char *signature;
	bool required;
	const char *summary;
};

enum operation_flag {
	OPERATION_IF_MATCH = 1 << 0, /* needs If-Match ("*" will do): 428 where it is missing, 412 where it differs */
	OPERATION_ETAG = 1 << 1,     /* answers with an ETag */
	OPERATION_STREAM = 1 << 2,   /* WatchEvents: the front subscribes instead of calling */
	OPERATION_MERGE = 1 << 3,    /* the document is a JSON Merge Patch (RFC 7396) */
	OPERATION_WRITE = 1 << 4,    /* changes something, or with dryRun tells what it would; its first result is `changed` */
	OPERATION_SECRET = 1 << 5,   /* its arguments are wiped, and never quoted */
	OPERATION_SELF_SERVICE = 1 << 6, /* the handler may let the scope control ask for itself */
	OPERATION_LARGE = 1 << 7,	 /* its document may have up to OPERATION_LARGE_MAX bytes */
};

/* Bytes of what an operation is given, through each front. */
#define OPERATION_DOCUMENT_MAX (1u << 20)   /* a document, or arguments */
#define OPERATION_LARGE_MAX    (8u << 20)   /* … of an operation that is OPERATION_LARGE: 100,000 IPv6 networks have 6 MB */
#define OPERATION_RAW_MAX      (256u << 10) /* a file to import */

struct operation_call;
typedef void (*operation_handler)(struct manager *manager, struct operation_call *call);

struct operation {
	const char *name;   /* "StartTunnel": operationId of openapi.yaml */
	const char *method; /* "POST" */
	const char *path;   /* "/tunnels/{id}/start", beneath /v1 */
	enum dbus_interface interface;
	const char *member; /* "Start"; NULL: properties or signals stand for it */
	enum scope scope;
	unsigned flags;
	const struct parameter *parameters;
	size_t parameter_count;
	const struct parameter *results; /* members of `result` that D-Bus returns, in order; REST returns the whole object */
	size_t result_count;
	const char *command; /* holdfastctl's words for it, "up"; NULL: none */
	const char *summary; /* one sentence for the reference page */
	operation_handler handle; /* NULL: answered by the front (WatchEvents) */
};

const struct operation *operations_all(size_t *ret_count);
const struct operation *operation_find(const char *name);

/* Whether OPERATION has a parameter in PLACE. */
static inline bool operation_has(const struct operation *operation, enum parameter_place place)
{
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (operation->parameters[i].place == place)
			return true;
	return false;
}

/* Bytes of its document or file. */
static inline size_t operation_text_max(const struct operation *operation)
{
	if (operation_has(operation, PLACE_RAW))
		return OPERATION_RAW_MAX;
	return operation->flags & OPERATION_LARGE ? OPERATION_LARGE_MAX : OPERATION_DOCUMENT_MAX;
}

struct caller {
	enum scope scope;
	uid_t uid;  /* (uid_t)-1: unknown */
	pid_t pid;  /* 0: unknown */
	int pidfd;  /* of that process, borrowed: stays it even if the number is given away; 0: unknown */
	char name[96]; /* for records: "uid 0 (pid 12)", "token ci", ":1.7" */
};

/*
 * One call. The front fills the upper half, the operation the lower. `done` is called exactly once, perhaps before operation_start()
 * returns; after it the call may be freed. A call whose client went away is cancelled, and `done` is then not called.
 */
struct operation_call {
	const struct operation *operation;
	struct caller caller;
	json_object *arguments; /* {"id": …, "wait": …}: path, query and body parameters; owned */
	json_object *document;	/* PLACE_DOCUMENT; owned; NULL where there is none */
	char *text;		/* PLACE_RAW; owned */
	size_t text_length;
	char *if_match; /* as sent, NULL: none. D-Bus passes "*" where the caller gave none */
	bool dry_run; /* the handler judges as it would, and changes nothing */
	void (*done)(struct operation_call *call, void *userdata);
	void *userdata;

	enum outcome outcome;
	json_object *result;	 /* the answer; owned; NULL on errors */
	const char *rendered;	 /* RESULT as the body over REST, where it is kept; borrowed until `done` returns; NULL: it is not */
	char *detail;		 /* a sentence that names what is wrong and the remedy; errors only */
	struct problems problems; /* `errors` of a problem document; warnings of a success */
	char *etag;		 /* without quotes */
	char *location;		 /* of what was created, beneath /v1 */
	void *pending;		 /* the operation's own, while it waits */
};

struct operation_call *operation_call_new(const struct operation *operation);
struct operation_call *operation_call_free(struct operation_call *call); /* accepts NULL, returns NULL */
void operation_start(struct manager *manager, struct operation_call *call); /* checks scope and parameters, then acts */
void operation_cancel(struct manager *manager, struct operation_call *call);

/* What operations have in common for fronts that show state: the answer of GetStatus now. The caller owns it. */
json_object *manager_status(struct manager *manager);
/* The same, kept until something changes; its counters may be some milliseconds old. Borrowed until the loop turns, and not to be changed. */
json_object *manager_status_kept(struct manager *manager);
/*
 * CHANGED is told whenever the status may differ from what it was: often, from anywhere, before it differs, so that all it may do is
 * take a note for a later turn of the loop. There is one; NULL ends it.
 */
void manager_watch_status(struct manager *manager, void (*changed)(void *userdata), void *userdata);

/* Events, as ListEvents gives them: {"id", "time", "kind", "tunnel" or null, …}. The object is borrowed. */
typedef void (*event_listener)(json_object *event, uint64_t id, void *userdata);
struct subscription;
struct subscription *manager_subscribe(struct manager *manager, event_listener listener, void *userdata);
struct subscription *manager_unsubscribe(struct subscription *subscription); /* accepts NULL, returns NULL */

/*
 * Past events after id AFTER, oldest first, at most LIMIT, as a JSON array. *ret_gap: events after AFTER are no longer kept, or AFTER
 * was never given out (the client needs `resync`). 0 or a negative errno.
 */
int manager_events_after(struct manager *manager, uint64_t after, size_t limit, json_object **ret, bool *ret_gap);
uint64_t manager_last_event(struct manager *manager); /* id; 0: none yet */
/* Whether TEXT is a token that is good now; then *ret is whose it is. */
bool manager_token(struct manager *manager, const char *text, struct caller *ret);
bool manager_ready(struct manager *manager);	      /* /readyz: started, and the gate verified */
