/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon's side of workers, against workers that play parts (fake-worker.c) and against the real program. */

#include "tunnel/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "suite.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define FOREVER (60 * USEC_PER_SEC)
#define NOBODY  65534
#define FAKE    "./tests/unit/fake-worker"
#define REAL    "./holdfast-worker"
#define NAMED_TUNNEL                                                                                                   \
	"{\"id\": \"home\", \"driver\": \"wireguard\", \"settings\": {\"privateKey\": "                                \
	"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\", "                                                           \
	"\"addresses\": [\"10.9.0.2/32\"]}, \"endpoints\": [{\"address\": \"vpn.example:51820/udp\", "                 \
	"\"publicKey\": \"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\"}]}"

static const struct worker_resolvers no_resolvers;
static char folder[] = "/tmp/holdfast-worker.XXXXXX";
static char *socket_path;
static sd_event *event;
static struct worker_server *server;

static struct {
	unsigned messages, hello, will_stop, stopped, gone;
	struct worker_hello last_hello;
	enum tunnel_error error; /* of willStop */
	enum tunnel_error end;   /* of gone */
	char detail[WORKER_DETAIL_MAX], end_detail[WORKER_DETAIL_MAX];
} heard;

static void on_message(struct worker *worker, const struct worker_message *message, void *userdata)
{
	heard.messages++;
	heard.hello += message->type == WORKER_MESSAGE_HELLO;
	heard.will_stop += message->type == WORKER_MESSAGE_WILL_STOP;
	heard.stopped += message->type == WORKER_MESSAGE_STOPPED;
	if (message->type == WORKER_MESSAGE_HELLO)
		heard.last_hello = message->hello;
	if (message->type == WORKER_MESSAGE_WILL_STOP) {
		heard.error = message->error;
		strcpy(heard.detail, message->detail);
	}
}

static void on_gone(struct worker *worker, enum tunnel_error error, const char *detail, void *userdata)
{
	heard.gone++;
	heard.end = error;
	snprintf(heard.end_detail, sizeof heard.end_detail, "%s", detail);
}

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t await(const unsigned *count, uint64_t usec)
{
	uint64_t begin = now_usec(), took = 0;
	for (; *count == 0 && took < usec; took = now_usec() - begin)
		sd_event_run(event, usec - took);
	return took;
}

static void serve(void)
{
	static const struct worker_callbacks callbacks = {on_message, on_gone};
	CU_ASSERT_EQUAL_FATAL(worker_server_new(&server, event, socket_path, &callbacks, NULL), 0);
}

static void set_up(void)
{
	memset(&heard, 0, sizeof heard);
	CU_ASSERT_FATAL(sd_event_new(&event) >= 0);
	serve();
}

static void tear_down(void)
{
	server = worker_server_free(server);
	event = sd_event_unref(event);
}

static struct worker *spawn(const char *program, const char *tunnel)
{
	_cleanup_free_ char *path = realpath(program, NULL);
	struct worker *worker = NULL;
	const struct worker_spec spec = {.tunnel = tunnel,
	        .program = path,
	        .socket_path = socket_path,
	        .uid = NOBODY,
	        .gid = NOBODY,
	        .net_admin = true,
	        .cgroup_fd = -1};
	CU_ASSERT_EQUAL_FATAL(worker_spawn(server, &spec, &worker), 0);
	return worker;
}

/* A fake worker's part leads to this end. */
static void expect_end(const char *part, enum tunnel_error error, const char *detail)
{
	set_up();
	pid_t pid = worker_pid(spawn(FAKE, part));
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.gone, 1);
	CU_ASSERT_EQUAL(heard.end, error);
	CU_ASSERT_STRING_EQUAL(heard.end_detail, detail);
	CU_ASSERT_TRUE(kill(pid, 0) < 0 && errno == ESRCH);
	tear_down();
}

static void a_worker_is_born_with_nothing_but_what_it_needs(void)
{
	static const char *const expected[] = {"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534",
	        "Groups:\t \n", "NoNewPrivs:\t1", "CapInh:\t0000000000001000", "CapPrm:\t0000000000001000",
	        "CapEff:\t0000000000001000", "CapBnd:\t0000000000001000", "CapAmb:\t0000000000001000",
	        "SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000"};
	set_up();
	struct worker *worker = spawn(FAKE, "good");
	await(&heard.hello, FOREVER);
	CU_ASSERT_EQUAL(heard.hello, 1);
	_cleanup_free_ char *path = text_format("/proc/%d/status", (int)worker_pid(worker)), *status = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &status, &length), 0);
	for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
		CU_ASSERT_PTR_NOT_NULL(strstr(status, expected[i]));
		if (!strstr(status, expected[i]))
			printf("# missing: %s\n%s\n", expected[i], status);
	}
	CU_ASSERT_EQUAL(getsid(worker_pid(worker)), worker_pid(worker));
	worker_kill(worker);
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_NONE);
	tear_down();
}

static void a_program_that_is_not_there_is_an_error_of_the_call(void)
{
	struct worker *worker = NULL;
	struct worker_spec spec = {.tunnel = "home",
	        .program = "/nowhere/holdfast-worker",
	        .socket_path = socket_path,
	        .uid = NOBODY,
	        .gid = NOBODY,
	        .cgroup_fd = -1};
	set_up();
	CU_ASSERT_EQUAL(worker_spawn(server, &spec, &worker), -ENOENT);
	spec.tunnel = "../home";
	CU_ASSERT_EQUAL(worker_spawn(server, &spec, &worker), -EINVAL);
	CU_ASSERT_PTR_NULL(worker);
	CU_ASSERT_TRUE(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	tear_down();
}

static void a_killed_worker_is_said_to_be_killed(void)
{
	set_up();
	struct worker *worker = spawn(FAKE, "good");
	await(&heard.hello, FOREVER);
	kill(worker_pid(worker), SIGKILL);
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_STRING_EQUAL(heard.end_detail, "the worker was killed by signal 9 (SIGKILL)");
	tear_down();
}

/* Of two the one with the wrong nonce sleeps, and is ended when its time is up; the one that was started before it still runs, and is waited for. */
static void a_wrong_nonce_is_no_worker_and_a_slow_one_is(void)
{
	_cleanup_free_ char *go = text_format("%s.go", socket_path);
	set_up();
	struct worker *slow = spawn(FAKE, "slow");
	spawn(FAKE, "forger");
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.gone, 1);
	CU_ASSERT_EQUAL(heard.messages, 0);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_WORKER_START_FAILED);
	CU_ASSERT_STRING_EQUAL(heard.end_detail, "the worker did not say hello within 5 s");
	CU_ASSERT_EQUAL(kill(worker_pid(slow), 0), 0);
	CU_ASSERT_EQUAL(close(creat(go, 0644)), 0);
	await(&heard.hello, FOREVER);
	CU_ASSERT_EQUAL(heard.hello, 1);
	(void)unlink(go);
	heard.gone = 0;
	worker_kill(slow);
	await(&heard.gone, FOREVER);
	tear_down();
}

static void another_process_with_the_nonce_is_no_worker(void)
{
	expect_end("proxy", TUNNEL_ERROR_WORKER_START_FAILED, "the worker did not say hello within 5 s");
	CU_ASSERT_EQUAL(heard.messages, 0);
}

static void rubbish_ends_a_worker(void)
{
	expect_end("garbage", TUNNEL_ERROR_WORKER_CRASHED, "the worker sent a packet that is no message");
	expect_end("windbag", TUNNEL_ERROR_WORKER_CRASHED, "the worker sent a packet that is too long");
	expect_end("flood", TUNNEL_ERROR_WORKER_CRASHED, "the worker flooded the daemon with packets");
	expect_end("early", TUNNEL_ERROR_WORKER_CRASHED, "the worker sent `willStop` out of turn");
	expect_end("twice", TUNNEL_ERROR_WORKER_CRASHED, "the worker sent `hello` out of turn");
	expect_end("deaf", TUNNEL_ERROR_WORKER_CRASHED, "the worker closed its connection");
	expect_end("quitter", TUNNEL_ERROR_WORKER_CRASHED, "the worker exited with status 7");
}

static void silence_ends_a_worker(void)
{
	expect_end("good", TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the worker said nothing for 10 s");
	CU_ASSERT_EQUAL(heard.hello, 1);
}

static void answers_to_an_overtaken_order_are_dropped(void)
{
	_cleanup_json_ json_object *document = json_object_new_object();
	set_up();
	struct worker *worker = spawn(FAKE, "late");
	/* Both are kept until it says hello. */
	CU_ASSERT_EQUAL(
	        worker_send_start(worker, &(struct worker_start){.tunnel = document, .tun_fd = -1, .control_fd = -1}),
	        0);
	CU_ASSERT_EQUAL(worker_send_restart(worker, 0, &no_resolvers), 0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.will_stop, 1);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_SERVER_BUSY);
	worker_kill(worker);
	await(&heard.gone, FOREVER);
	tear_down();
}

static void a_device_is_no_ones_before_the_gate_is_open(void)
{
	_cleanup_json_ json_object *document = json_object_new_object();
	set_up();
	struct worker *worker = spawn(FAKE, "grabber");
	CU_ASSERT_EQUAL(
	        worker_send_start(worker, &(struct worker_start){.tunnel = document, .tun_fd = -1, .control_fd = -1}),
	        0);
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_STRING_EQUAL(heard.end_detail, "the worker sent `askDevice` out of turn");
	tear_down();
}

static void start_named_tunnel(struct worker *worker)
{
	_cleanup_json_ json_object *document = json_tokener_parse(NAMED_TUNNEL);
	CU_ASSERT_EQUAL(
	        worker_send_start(worker, &(struct worker_start){.tunnel = document, .tun_fd = -1, .control_fd = -1}),
	        0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_NAME_RESOLUTION_FAILED);
}

static void the_real_worker_tells_a_stop_and_ends_when_told(void)
{
	set_up();
	struct worker *worker = spawn(REAL, "home");
	start_named_tunnel(worker);
	CU_ASSERT_EQUAL(heard.last_hello.phase, WORKER_IDLE);
	CU_ASSERT_EQUAL(worker_send_stop(worker), 0);
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.stopped, 1);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_NONE);
	CU_ASSERT_STRING_EQUAL(heard.end_detail, "the worker exited with status 0");
	tear_down();
}

static void a_bad_document_is_a_stop_with_that_error(void)
{
	_cleanup_json_ json_object *document = json_tokener_parse("{\"driver\": \"wireguard\"}");
	set_up();
	struct worker *worker = spawn(REAL, "home");
	CU_ASSERT_EQUAL(
	        worker_send_start(worker, &(struct worker_start){.tunnel = document, .tun_fd = -1, .control_fd = -1}),
	        0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_BAD_CONFIGURATION);
	worker_kill(worker);
	await(&heard.gone, FOREVER);
	tear_down();
}

/* The daemon goes, a new one comes: the worker is there again and tells once more why its session stopped. */
static void a_new_daemon_is_told_all_again(void)
{
	char nonce[WORKER_NONCE_SIZE * 2 + 1];
	struct worker *worker, *again = NULL;
	set_up();
	worker = spawn(REAL, "home");
	pid_t pid = worker_pid(worker);
	strcpy(nonce, worker_nonce(worker));
	start_named_tunnel(worker);
	server = worker_server_free(server);
	const struct timespec gap = {
	        .tv_nsec = 300 * 1000 * 1000}; /* a daemon that is away for a while: nothing is awaited by it */
	nanosleep(&gap, NULL);
	heard.hello = 0;
	uint64_t begin = now_usec();
	serve();
	CU_ASSERT_EQUAL(worker_adopt(server, "other", pid, nonce, &again), -ESRCH);
	CU_ASSERT_EQUAL(worker_adopt(server, "home", getpid(), nonce, &again), -ESRCH);
	CU_ASSERT_EQUAL_FATAL(worker_adopt(server, "home", pid, nonce, &again), 0);
	await(&heard.hello, FOREVER);
	uint64_t took = now_usec() - begin;
	printf("# hello again after %.1f ms\n", (double)took / 1000);
	CU_ASSERT_EQUAL(heard.last_hello.phase, WORKER_STOPPED);
	CU_ASSERT_EQUAL(heard.last_hello.error, TUNNEL_ERROR_NAME_RESOLUTION_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard.last_hello.detail, "vpn.example"));
	heard.will_stop = 0;
	CU_ASSERT_EQUAL(worker_send_restart(again, 0, &no_resolvers), 0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.will_stop, 1);
	CU_ASSERT_EQUAL(worker_send_stop(again), 0);
	await(&heard.gone, FOREVER);
	CU_ASSERT_EQUAL(heard.end, TUNNEL_ERROR_NONE);
	waitpid(pid, NULL, 0); /* in this test its parent is still here */
	tear_down();
}

/* With a daemon, SIGTERM is the daemon's to answer; alone, the worker obeys it. */
static void sigterm_is_obeyed_only_without_a_daemon(void)
{
	set_up();
	struct worker *worker = spawn(REAL, "home");
	pid_t pid = worker_pid(worker);
	await(&heard.hello, FOREVER);
	kill(pid, SIGTERM);
	start_named_tunnel(worker); /* it went through its loop after the signal and still serves */
	CU_ASSERT_EQUAL(heard.gone, 0);
	server = worker_server_free(server);
	int status = -1;
	uint64_t begin = now_usec();
	while (waitpid(pid, &status, WNOHANG) == 0 && now_usec() - begin < FOREVER)
		kill(pid, SIGTERM); /* until it has noticed that the daemon is gone */
	CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	tear_down();
}

static const struct test tests[] = {
        {"a worker is born with nothing but what it needs", a_worker_is_born_with_nothing_but_what_it_needs},
        {"a program that is not there is an error of the call", a_program_that_is_not_there_is_an_error_of_the_call},
        {"a killed worker is said to be killed", a_killed_worker_is_said_to_be_killed},
        {"rubbish ends a worker", rubbish_ends_a_worker},
        {"answers to an overtaken order are dropped", answers_to_an_overtaken_order_are_dropped},
        {"the real worker tells a stop and ends when told", the_real_worker_tells_a_stop_and_ends_when_told},
        {"a bad document is a stop with that error", a_bad_document_is_a_stop_with_that_error},
        {"a new daemon is told all again", a_new_daemon_is_told_all_again},
        {"SIGTERM is obeyed only without a daemon", sigterm_is_obeyed_only_without_a_daemon},
        {"a wrong nonce is no worker, and a slow one is", a_wrong_nonce_is_no_worker_and_a_slow_one_is},
        {"another process with the nonce is no worker", another_process_with_the_nonce_is_no_worker},
        {"silence ends a worker", silence_ends_a_worker},
        {"a device is no one's before the gate is open", a_device_is_no_ones_before_the_gate_is_open},
};

int main(int argc, char **argv)
{
	log_set_level(LOG_LEVEL_ERROR); /* strangers that are turned away are the subject here */
	if (!mkdtemp(folder) || chmod(folder, 0755) < 0)
		return EXIT_FAILURE;
	socket_path = text_format("%s/worker.sock", folder);
	int status = suite_run("worker", tests, ELEMENTSOF(tests), argc, argv);
	unlink(socket_path);
	rmdir(folder);
	free(socket_path);
	return status;
}
