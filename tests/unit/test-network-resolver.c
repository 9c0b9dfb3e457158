/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The host's resolver: set, put back, and found again after a crash; by the file, by resolvconf, and by systemd-resolved. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "network/link.h"
#include "network/resolver.h"
#include "sandbox.h"
#include "suite.h"
#include "util/file.h"
#include "util/text.h"

#define STATE "/run/state"
#define KEPT  STATE "/resolver.json"
#define CONF  "/run/etc/resolv.conf"

#define FORMER "# the uplink's\nsearch lan.example\nnameserver 10.1.0.1\nnameserver 127.0.0.1\nnameserver 0.0.0.0\nnameserver ::\nnameserver ::1\nnameserver fd01::1\n"
#define OURS(server) "# Written by holdfastd for hf-home while its tunnel carries; what stood here comes back.\nnameserver " server "\n"

static struct ip_address server(const char *text)
{
	struct ip_address address;
	CU_ASSERT_EQUAL_FATAL(ip_address_parse(text, &address), 0);
	return address;
}

static int set(const char *interface, const char *text)
{
	struct ip_address address = server(text);
	return resolver_set(STATE, interface, &address, 1);
}

static void begin(const char *content)
{
	sandbox_run("umount " CONF " 2>/dev/null; rm -rf " STATE " /run/etc /run/other && mkdir -p " STATE " /run/etc");
	setenv("HOLDFAST_RESOLV_CONF", CONF, 1);
	if (content)
		CU_ASSERT_EQUAL(file_write_atomic(CONF, content, strlen(content), 0640), 0);
}

static void expect_text(const char *path, const char *expected)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(path, &text, &length);
	CU_ASSERT_EQUAL(r, 0);
	if (r == 0)
		CU_ASSERT_STRING_EQUAL(text, expected);
}

/* The uplink's servers, with a blank after each. */
static void expect_uplink_servers(const char *expected)
{
	struct ip_address found[8];
	_cleanup_text_ struct text text = TEXT_NULL;
	char buffer[IP_TEXT_MAX];
	size_t count = resolver_uplink_servers(STATE, found, ELEMENTSOF(found));
	text_append(&text, "%s", "");
	for (size_t i = 0; i < count; i++)
		text_append(&text, "%s ", ip_address_format(buffer, &found[i]));
	CU_ASSERT_STRING_EQUAL(text.bytes, expected);
}

static void expect_nothing_kept(void)
{
	CU_ASSERT_EQUAL(access(KEPT, F_OK), -1);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
}

/* ---- the file ---- */

static void a_file_comes_back_as_it_was(void)
{
	struct stat status;
	begin(FORMER);
	expect_uplink_servers("10.1.0.1 fd01::1 ");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text(CONF, OURS("10.9.0.1"));
	CU_ASSERT_EQUAL(stat(KEPT, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	expect_uplink_servers("10.1.0.1 fd01::1 ");
	CU_ASSERT_EQUAL(set("hf-home", "fd09::1"), 0);
	expect_text(CONF, OURS("fd09::1"));
	expect_uplink_servers("10.1.0.1 fd01::1 ");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
	CU_ASSERT_EQUAL(stat(CONF, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0640);
	expect_nothing_kept();
	_cleanup_free_ char *left = sandbox_read("ls -A /run/etc " STATE);
	CU_ASSERT_STRING_EQUAL(left, "/run/etc:\nresolv.conf\n\n/run/state:\n");
}

static void a_files_owner_comes_back(void)
{
	struct stat status;
	begin(FORMER);
	CU_ASSERT_EQUAL(chown(CONF, 1000, 1001), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_EQUAL(stat(CONF, &status), 0);
	CU_ASSERT_EQUAL(status.st_uid, 0);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	CU_ASSERT_EQUAL(stat(CONF, &status), 0);
	CU_ASSERT_EQUAL(status.st_uid, 1000);
	CU_ASSERT_EQUAL(status.st_gid, 1001);
	expect_text(CONF, FORMER);
}

static void a_file_that_cannot_change_is_an_error(void)
{
	begin(FORMER);
	sandbox_run("cp " CONF " /run/mounted && mount --bind /run/mounted " CONF " && mount -o remount,bind,ro " CONF);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), -EROFS);
	expect_text(CONF, FORMER);
	expect_nothing_kept();
	/* It was written, and cannot be put back: that is still known, and done once it can be. */
	sandbox_run("mount -o remount,bind,rw " CONF);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	sandbox_run("mount -o remount,bind,ro " CONF);
	CU_ASSERT_EQUAL(resolver_restore(STATE), -EROFS);
	CU_ASSERT_STRING_EQUAL(resolver_method(STATE), "file");
	sandbox_run("mount -o remount,bind,rw " CONF);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
	expect_nothing_kept();
}

static void a_symbolic_link_comes_back_as_a_link(void)
{
	char target[64] = "";
	begin(NULL);
	sandbox_run("mkdir /run/other && printf 'nameserver 192.0.2.53\\n' >/run/other/resolv.conf");
	CU_ASSERT_EQUAL(symlink("../other/resolv.conf", CONF), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text(CONF, OURS("10.9.0.1"));
	expect_text("/run/other/resolv.conf", "nameserver 192.0.2.53\n");
	expect_uplink_servers("192.0.2.53 ");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	CU_ASSERT_TRUE(readlink(CONF, target, sizeof target - 1) > 0);
	CU_ASSERT_STRING_EQUAL(target, "../other/resolv.conf");
	expect_nothing_kept();
	/* One that leads nowhere. */
	CU_ASSERT_EQUAL(unlink("/run/other/resolv.conf"), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_uplink_servers("");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	CU_ASSERT_TRUE(readlink(CONF, target, sizeof target - 1) > 0);
}

static void where_there_was_no_file_there_is_none_again(void)
{
	begin(NULL);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text(CONF, OURS("10.9.0.1"));
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	CU_ASSERT_EQUAL(access(CONF, F_OK), -1);
	expect_nothing_kept();
}

static void a_mount_point_is_written_in_place(void)
{
	begin(FORMER);
	sandbox_run("cp " CONF " /run/mounted && mount --bind /run/mounted " CONF);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text("/run/mounted", OURS("10.9.0.1"));
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text("/run/mounted", FORMER);
	expect_nothing_kept();
	_cleanup_free_ char *left = sandbox_read("ls -A /run/etc");
	CU_ASSERT_STRING_EQUAL(left, "resolv.conf\n");
}

static void a_crash_at_any_step_is_mended(void)
{
	_cleanup_free_ char *kept = NULL;
	size_t length;
	begin(FORMER);
	/* After keeping, before writing. */
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_EQUAL(file_write_atomic(CONF, FORMER, strlen(FORMER), 0640), 0);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
	expect_nothing_kept();
	/* While one of ours is replaced by another: kept knows both, the file has the first. */
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.2"), 0);
	CU_ASSERT_EQUAL(file_read(KEPT, &kept, &length), 0);
	CU_ASSERT_EQUAL(file_write_atomic(CONF, OURS("10.9.0.1"), strlen(OURS("10.9.0.1")), 0644), 0);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
	/* After restoring, before forgetting. */
	CU_ASSERT_EQUAL(file_write_atomic(KEPT, kept, length, 0600), 0);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
	expect_nothing_kept();
}

static void what_somebody_else_wrote_stays(void)
{
	static const char theirs[] = "# NetworkManager\nnameserver 192.0.2.1\n";
	begin(FORMER);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_TRUE(resolver_stands(STATE));
	CU_ASSERT_EQUAL(file_write_atomic(CONF, theirs, strlen(theirs), 0644), 0);
	CU_ASSERT_FALSE(resolver_stands(STATE));
	expect_uplink_servers("192.0.2.1 ");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	CU_ASSERT_TRUE(resolver_stands(STATE));
	expect_text(CONF, theirs);
	expect_nothing_kept();
	/* Set again over theirs: theirs comes back. */
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_EQUAL(file_write_atomic(CONF, FORMER, strlen(FORMER), 0644), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.2"), 0);
	expect_text(CONF, OURS("10.9.0.2"));
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, FORMER);
}

static void bad_input_changes_nothing(void)
{
	static const char *const kept[] = {"", "{", "[]", "{}", "{\"method\":\"file\",\"interface\":\"eth0\"}",
		"{\"method\":\"file\",\"interface\":\"hf-home\",\"former\":{\"kind\":\"file\"}}", "{\"method\":7,\"written\":[1,null]}"};
	struct ip_address address = server("10.9.0.1");
	begin(FORMER);
	CU_ASSERT_EQUAL(resolver_set(STATE, "hf-home", &address, 0), -EINVAL);
	CU_ASSERT_EQUAL(resolver_set(STATE, "eth0", &address, 1), -EINVAL);
	CU_ASSERT_EQUAL(resolver_set("/run/nowhere", "hf-home", &address, 1), -ENOENT);
	expect_text(CONF, FORMER);
	for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
		CU_ASSERT_EQUAL(file_write_atomic(KEPT, kept[i], strlen(kept[i]), 0600), 0);
		expect_uplink_servers("10.1.0.1 fd01::1 ");
		CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
		expect_text(CONF, FORMER);
		expect_nothing_kept();
	}
}

static void a_file_with_strange_bytes_is_kept_too(void)
{
	begin("# G\xe9n\xe9r\xe9\nnameserver 10.1.0.1\n");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_uplink_servers("10.1.0.1 ");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text(CONF, "# G?n?r?\nnameserver 10.1.0.1\n");
}

/* ---- resolvconf ---- */

/* /etc/resolv.conf as a file of the test's own, and a program that says what it was told. */
static void begin_on_etc(const char *content, const char *program)
{
	begin(content);
	unsetenv("HOLDFAST_RESOLV_CONF");
	sandbox_run("umount /etc/resolv.conf 2>/dev/null; umount /usr/local/sbin 2>/dev/null; mount --bind " CONF " /etc/resolv.conf");
	if (program)
		sandbox_run("mount -t tmpfs none /usr/local/sbin && printf '%%s' '%s' >/usr/local/sbin/resolvconf && "
			    "chmod 755 /usr/local/sbin/resolvconf && : >/run/calls",
			program);
}

#define GENERATED "# Generated by resolvconf\nnameserver 10.1.0.1\n"

static void resolvconf_is_run_where_it_made_the_file(void)
{
	begin_on_etc(GENERATED, "#!/bin/sh\n{ echo \"$@\"; cat; } >>/run/calls\n");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text("/run/calls", "-a tun.hf-home -m 0 -x\n" OURS("10.9.0.1"));
	expect_text("/etc/resolv.conf", GENERATED);
	/* As the program would: the file now has the tunnel's. The uplink's are those of before. */
	sandbox_run("printf '# Generated by resolvconf\\nnameserver 10.9.0.1\\n' >/etc/resolv.conf");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.2"), 0);
	expect_uplink_servers("10.1.0.1 ");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text("/run/calls", "-a tun.hf-home -m 0 -x\n" OURS("10.9.0.1") "-a tun.hf-home -m 0 -x\n" OURS("10.9.0.2") "-d tun.hf-home -f\n");
	expect_nothing_kept();
}

static void a_resolvconf_that_fails_or_hangs_is_an_error(void)
{
	begin_on_etc(GENERATED, "#!/bin/sh\n[ \"$1\" = -d ]\n");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), -EIO);
	expect_text("/etc/resolv.conf", GENERATED);
	expect_nothing_kept();
	begin_on_etc(GENERATED, "#!/bin/sh\n[ \"$1\" = -d ] || exec sleep 60\n");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), -ETIMEDOUT);
	expect_nothing_kept();
}

static void resolvectl_is_no_resolvconf(void)
{
	begin_on_etc(GENERATED, "#!/bin/sh\necho called >>/run/calls\n");
	sandbox_run("cd /usr/local/sbin && mv resolvconf resolvectl && ln -s resolvectl resolvconf");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text("/run/calls", "");
}

/* ---- systemd-resolved, played by a child on a private bus ---- */

static int on_call(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	FILE *calls = userdata;
	int index, family, yes;
	const char *domain;
	const void *bytes;
	size_t length;
	fprintf(calls, "%s", sd_bus_message_get_member(call));
	if (!sd_bus_message_is_method_call(call, NULL, "FlushCaches") && sd_bus_message_read(call, "i", &index) >= 0)
		fprintf(calls, " %s", index > 1 ? "hf-home" : "lo");
	if (sd_bus_message_is_method_call(call, NULL, "SetLinkDNS") && sd_bus_message_enter_container(call, 'a', "(iay)") >= 0)
		while (sd_bus_message_enter_container(call, 'r', "iay") > 0 && sd_bus_message_read(call, "i", &family) >= 0 &&
			sd_bus_message_read_array(call, 'y', &bytes, &length) >= 0 && sd_bus_message_exit_container(call) >= 0)
			fprintf(calls, " %d:%zu:%02x", family, length, ((const uint8_t *)bytes)[0]);
	if (sd_bus_message_is_method_call(call, NULL, "SetLinkDomains") && sd_bus_message_read(call, "a(sb)", 1, &domain, &yes) >= 0)
		fprintf(calls, " %s %d", domain, yes);
	if (sd_bus_message_is_method_call(call, NULL, "SetLinkDefaultRoute") && sd_bus_message_read(call, "b", &yes) >= 0)
		fprintf(calls, " %d", yes);
	fprintf(calls, "\n");
	fflush(calls);
	return sd_bus_reply_method_return(call, NULL);
}

/* Links 0 (of resolved.conf), 1 (loopback's index, for an uplink) and the tunnel's. */
static int get_servers(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
	void *userdata, sd_bus_error *error)
{
	return sd_bus_message_append(reply, "a(iiay)", 3, 0, AF_INET, 4, 10, 1, 0, 1, 1, AF_INET, 4, 127, 0, 0, 53,
		(int)if_nametoindex("hf-home"), AF_INET, 4, 10, 9, 0, 1);
}

static const sd_bus_vtable manager[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("SetLinkDNS", "ia(iay)", "", on_call, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("SetLinkDomains", "ia(sb)", "", on_call, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("SetLinkDefaultRoute", "ib", "", on_call, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RevertLink", "i", "", on_call, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("FlushCaches", "", "", on_call, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_PROPERTY("DNS", "a(iiay)", get_servers, 0, 0),
	SD_BUS_VTABLE_END,
};

static void play_resolved(int ready)
{
	sd_bus *bus = NULL;
	FILE *calls = fopen("/run/calls", "we");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sd_bus_open_system(&bus) < 0 ||
		sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager", manager, calls) < 0 ||
		sd_bus_request_name(bus, "org.freedesktop.resolve1", 0) < 0 || write(ready, "x", 1) != 1)
		_exit(EXIT_FAILURE);
	while (sd_bus_process(bus, NULL) > 0 || sd_bus_wait(bus, UINT64_MAX) >= 0)
		;
	_exit(EXIT_FAILURE);
}

static pid_t start_resolved(void)
{
	int ready[2];
	char byte;
	CU_ASSERT_EQUAL_FATAL(pipe2(ready, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0)
		play_resolved(ready[1]);
	close(ready[1]);
	CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void end(pid_t child)
{
	CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
	CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
}

/* A bus that lets everybody own everything; its pid. */
static pid_t start_bus(void)
{
	static const char configuration[] =
		"<busconfig><type>system</type><listen>unix:path=/run/bus</listen><policy context=\"default\"><allow user=\"*\"/>"
		"<allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/></policy></busconfig>";
	int ready[2];
	char byte;
	CU_ASSERT_EQUAL(file_write_atomic("/run/bus.conf", configuration, strlen(configuration), 0644), 0);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/bus", 1);
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		_cleanup_free_ char *print = text_format("--print-address=%d", ready[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("dbus-daemon", "dbus-daemon", "--config-file=/run/bus.conf", "--nofork", print, NULL);
		_exit(EXIT_FAILURE);
	}
	close(ready[1]);
	CU_ASSERT_EQUAL_FATAL(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void resolved_is_told_where_the_file_leads_to_it(void)
{
	int fd = -1;
	sandbox_renew();
	begin_on_etc("nameserver 127.0.0.53\noptions edns0\n", NULL);
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 0, false, &fd), 0);
	pid_t bus = start_bus(), service = start_resolved();
	expect_uplink_servers("10.1.0.1 ");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_uplink_servers("10.1.0.1 ");
	expect_text("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0\n");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text("/run/calls", "SetLinkDNS hf-home 2:4:0a\nSetLinkDomains hf-home . 1\nSetLinkDefaultRoute hf-home 1\nFlushCaches\n"
				  "RevertLink hf-home\n");
	expect_nothing_kept();
	/* The service, and then the bus, are gone by the time that it is put back. */
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	end(service);
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_nothing_kept();
	/* Without the service the file is all there is. */
	end(bus);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text("/etc/resolv.conf", OURS("10.9.0.1"));
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	expect_text("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0\n");
	close(fd);
}

/* As at boot: the link to its stub leads nowhere yet. */
static void resolved_that_comes_late_takes_over(void)
{
	char target[64] = "";
	int fd = -1;
	sandbox_renew();
	begin_on_etc("", NULL);
	sandbox_run("umount /etc/resolv.conf; mkdir -p /run/upper /run/work && mount -t overlay none -o "
		    "lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc && ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf");
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 0, false, &fd), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_STRING_EQUAL(resolver_method(STATE), "file");
	pid_t bus = start_bus(), service = start_resolved();
	expect_uplink_servers("10.1.0.1 ");
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	CU_ASSERT_STRING_EQUAL(resolver_method(STATE), "resolved");
	CU_ASSERT_TRUE(readlink("/etc/resolv.conf", target, sizeof target - 1) > 0);
	CU_ASSERT_STRING_EQUAL(target, "../run/systemd/resolve/stub-resolv.conf");
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	sandbox_run("umount -l /etc");
	end(service);
	end(bus);
	close(fd);
}

/* Reads nothing and answers nothing: a bus that hangs. */
static void a_bus_that_hangs_costs_little(void)
{
	sandbox_renew();
	begin_on_etc("nameserver 127.0.0.53\n", NULL);
	pid_t bus = start_bus();
	CU_ASSERT_EQUAL(kill(bus, SIGSTOP), 0);
	CU_ASSERT_EQUAL(set("hf-home", "10.9.0.1"), 0);
	expect_text("/etc/resolv.conf", OURS("10.9.0.1"));
	CU_ASSERT_EQUAL(resolver_restore(STATE), 0);
	end(bus);
}

static const struct test tests[] = {
	{"a file comes back as it was", a_file_comes_back_as_it_was},
	{"a file's owner comes back", a_files_owner_comes_back},
	{"a file that cannot change is an error", a_file_that_cannot_change_is_an_error},
	{"a symbolic link comes back as a link", a_symbolic_link_comes_back_as_a_link},
	{"where there was no file there is none again", where_there_was_no_file_there_is_none_again},
	{"a mount point is written in place", a_mount_point_is_written_in_place},
	{"a crash at any step is mended", a_crash_at_any_step_is_mended},
	{"what somebody else wrote stays", what_somebody_else_wrote_stays},
	{"bad input changes nothing", bad_input_changes_nothing},
	{"a file with strange bytes is kept too", a_file_with_strange_bytes_is_kept_too},
	{"resolvconf is run where it made the file", resolvconf_is_run_where_it_made_the_file},
	{"a resolvconf that fails or hangs is an error", a_resolvconf_that_fails_or_hangs_is_an_error},
	{"resolvectl by resolvconf's name is no resolvconf", resolvectl_is_no_resolvconf},
	{"resolved is told where the file leads to it", resolved_is_told_where_the_file_leads_to_it},
	{"resolved that comes late takes over from the file", resolved_that_comes_late_takes_over},
	{"a bus that hangs costs little", a_bus_that_hangs_costs_little},
};

int main(int argc, char **argv)
{
	sandbox_enter();
	return suite_run("network-resolver", tests, ELEMENTSOF(tests), argc, argv);
}
