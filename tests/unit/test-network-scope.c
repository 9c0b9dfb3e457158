/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scopes asked of systemd, which is played here: both ends of its connection, and the clock, are this program's. */

#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "network/scope.h"
#include "suite.h"
#include "util/macro.h"
#include "util/text.h"
#include "util/timestamp.h"

#define SERVICE "org.freedesktop.systemd1"
#define OBJECT  "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define NAME    "holdfast-exec-b1.scope"
#define TURNS   100 /* of the loop: more than there can be anything to do in */

/* ---- the clock: takes the place of libsystemd's. Nothing is waited for, the deadline comes when the test says so ----
 */

static uint64_t deadline_usec;
static sd_event_source *deadline;

int sd_event_add_time_relative(sd_event *event, sd_event_source **ret, clockid_t clock, uint64_t usec,
        uint64_t accuracy, sd_event_time_handler_t callback, void *userdata)
{
	int r = sd_event_add_time(event, ret, clock, 0, accuracy, callback, userdata);
	deadline_usec = usec;
	deadline = *ret;
	return r < 0 ? r : sd_event_source_set_enabled(deadline, SD_EVENT_OFF);
}

/* ---- systemd, and who asks it ---- */

enum answer { ANSWER_NONE, ANSWER_TAKEN, ANSWER_REFUSED, ANSWER_LOST };

struct scene {
	sd_event *event;
	sd_bus *systemd, *bus;
	struct scope_request *request;
	enum answer answer;
	char *asked; /* name, mode and properties */
	uint32_t pid;
	unsigned told;
	enum scope_outcome outcome;
	char *words;
};

static void read_properties(struct scene *scene, sd_bus_message *call)
{
	const char *name, *mode, *key, *value;
	struct text text = TEXT_NULL;
	CU_ASSERT_TRUE(sd_bus_message_read(call, "ss", &name, &mode) > 0);
	text_append(&text, "%s %s", name, mode);
	CU_ASSERT_TRUE(sd_bus_message_enter_container(call, 'a', "(sv)") > 0);
	while (sd_bus_message_enter_container(call, 'r', "sv") > 0) {
		CU_ASSERT_TRUE(sd_bus_message_read(call, "s", &key) > 0);
		if (strcmp(key, "PIDs") != 0 && sd_bus_message_read(call, "v", "s", &value) > 0)
			text_append(&text, ", %s=%s", key, value);
		else
			CU_ASSERT_TRUE(sd_bus_message_read(call, "v", "au", 1, &scene->pid) > 0);
		CU_ASSERT_TRUE(sd_bus_message_exit_container(call) > 0);
	}
	scene->asked = text_steal(&text);
}

static int on_call(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	struct scene *scene = userdata;
	if (!sd_bus_message_is_method_call(call, MANAGER, "StartTransientUnit"))
		return 0;
	read_properties(scene, call);
	switch (scene->answer) {
	case ANSWER_NONE:
		break;
	case ANSWER_TAKEN:
		return sd_bus_reply_method_return(call, "o", OBJECT "/job/1");
	case ANSWER_REFUSED:
		return sd_bus_reply_method_errorf(call, SERVICE ".UnitExists", "Unit " NAME " was already loaded");
	case ANSWER_LOST:
		sd_bus_close(scene->systemd);
		break;
	}
	return 1;
}

static void turn(struct scene *scene)
{
	for (unsigned i = 0; i < TURNS; i++)
		CU_ASSERT_TRUE(sd_event_run(scene->event, 0) >= 0);
}

static void tell(enum scope_outcome outcome, const char *words, void *userdata)
{
	struct scene *scene = userdata;
	scene->told++;
	scene->outcome = outcome;
	free(scene->words);
	scene->words = text_dup(words);
	scene->request = scope_request_free(scene->request); /* as the daemon does */
}

static void begin(struct scene *scene, enum answer answer)
{
	int ends[2];
	*scene = (struct scene){.answer = answer};
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	CU_ASSERT_TRUE_FATAL(sd_event_new(&scene->event) >= 0);
	CU_ASSERT_TRUE_FATAL(sd_bus_new(&scene->systemd) >= 0 && sd_bus_set_fd(scene->systemd, ends[0], ends[0]) >= 0 &&
	                     sd_bus_set_server(scene->systemd, 1, (sd_id128_t){.bytes = {1}}) >= 0 &&
	                     sd_bus_start(scene->systemd) >= 0 &&
	                     sd_bus_add_filter(scene->systemd, NULL, on_call, scene) >= 0 &&
	                     sd_bus_attach_event(scene->systemd, scene->event, 0) >= 0);
	CU_ASSERT_TRUE_FATAL(sd_bus_new(&scene->bus) >= 0 && sd_bus_set_fd(scene->bus, ends[1], ends[1]) >= 0 &&
	                     sd_bus_start(scene->bus) >= 0 && sd_bus_attach_event(scene->bus, scene->event, 0) >= 0);
	CU_ASSERT_EQUAL_FATAL(scope_request_new(&scene->request, scene->bus, NAME, "A program", 4711, tell, scene), 0);
	turn(scene);
}

static void job_removed(struct scene *scene, const char *unit, const char *result)
{
	sd_bus_message *signal = NULL;
	CU_ASSERT_TRUE(sd_bus_message_new_signal(scene->systemd, &signal, OBJECT, MANAGER, "JobRemoved") >= 0 &&
	               sd_bus_message_set_sender(signal, SERVICE) >= 0 &&
	               sd_bus_message_append(signal, "uoss", 1, OBJECT "/job/1", unit, result) >= 0 &&
	               sd_bus_send(scene->systemd, signal, NULL) >= 0);
	sd_bus_message_unref(signal);
	turn(scene);
}

static void time_is_over(struct scene *scene)
{
	CU_ASSERT_TRUE(sd_event_source_set_enabled(deadline, SD_EVENT_ONESHOT) >= 0);
	turn(scene);
}

static void expect(struct scene *scene, enum scope_outcome outcome, const char *words)
{
	CU_ASSERT_EQUAL(scene->told, 1);
	CU_ASSERT_EQUAL(scene->outcome, outcome);
	CU_ASSERT_TRUE(scene->words && strstr(scene->words, words));
	CU_ASSERT_PTR_NULL(scene->request);
}

static void finish(struct scene *scene)
{
	scene->request = scope_request_free(scene->request);
	sd_bus_close_unref(scene->bus);
	sd_bus_close_unref(scene->systemd);
	sd_event_unref(scene->event);
	free(scene->asked);
	free(scene->words);
}

/* ---- the tests ---- */

static void a_scope_is_made_when_its_job_is_done(void)
{
	struct scene scene;
	begin(&scene, ANSWER_TAKEN);
	CU_ASSERT_STRING_EQUAL(
	        scene.asked, NAME " fail, Description=A program, Slice=holdfast.slice, CollectMode=inactive-or-failed");
	CU_ASSERT_EQUAL(scene.pid, 4711);
	job_removed(&scene, "another.scope", "done");
	CU_ASSERT_EQUAL(scene.told, 0); /* neither for the answer nor for another's job */
	job_removed(&scene, NAME, "done");
	expect(&scene, SCOPE_MADE, "");
	finish(&scene);
}

static void a_job_that_ends_otherwise_makes_none(void)
{
	struct scene scene;
	begin(&scene, ANSWER_TAKEN);
	job_removed(&scene, NAME, "canceled");
	expect(&scene, SCOPE_FAILED, "canceled");
	finish(&scene);
}

static void a_refusal_moved_nothing(void)
{
	struct scene scene;
	begin(&scene, ANSWER_REFUSED);
	expect(&scene, SCOPE_REFUSED, "already loaded");
	finish(&scene);
}

static void a_connection_that_breaks_off_is_no_refusal(void)
{
	struct scene scene;
	begin(&scene, ANSWER_LOST);
	expect(&scene, SCOPE_FAILED, "");
	finish(&scene);
}

static void who_does_not_answer_has_twenty_seconds(void)
{
	static const enum answer answers[] = {ANSWER_NONE, ANSWER_TAKEN}; /* and then never says that it is done */
	for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
		struct scene scene;
		begin(&scene, answers[i]);
		CU_ASSERT_EQUAL(deadline_usec, 20 * USEC_PER_SEC);
		CU_ASSERT_EQUAL(scene.told, 0);
		time_is_over(&scene);
		expect(&scene, SCOPE_FAILED, "systemd does not answer");
		job_removed(&scene, NAME, "done"); /* it wakes up: nobody is told any more */
		expect(&scene, SCOPE_FAILED, "systemd does not answer");
		finish(&scene);
	}
}

static void who_lets_go_is_told_nothing(void)
{
	struct scene scene;
	begin(&scene, ANSWER_TAKEN);
	scene.request = scope_request_free(scene.request);
	job_removed(&scene, NAME, "done");
	CU_ASSERT_EQUAL(scene.told, 0);
	finish(&scene);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
	        {"a scope is made when its job is done", a_scope_is_made_when_its_job_is_done},
	        {"a job that ends otherwise makes none", a_job_that_ends_otherwise_makes_none},
	        {"a refusal moved nothing", a_refusal_moved_nothing},
	        {"a connection that breaks off is no refusal", a_connection_that_breaks_off_is_no_refusal},
	        {"who does not answer has twenty seconds", who_does_not_answer_has_twenty_seconds},
	        {"who lets go is told nothing", who_lets_go_is_told_nothing},
	};
	return suite_run("scope", tests, ELEMENTSOF(tests), argc, argv);
}
