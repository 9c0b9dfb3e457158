/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Calls on a bus, in turn, and the median time of each: bus-load ROUNDS (DESTINATION PATH INTERFACE PROPERTY)…
 *
 * Where PROPERTY is "-" it is Peer.Ping that is called, which no program can answer with less. Prints the medians in microseconds, one a
 * line, in the order given. What else the machine does meets all of them alike, since they take turns; and who is asked before whom is
 * shuffled anew each time, since the first call after another program's finds the caches cold.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "tests/bench/measure.h"
#include "util/text.h"

#define WARM_UP 200 /* calls of each before any is counted */

struct subject {
	const char *destination, *path, *interface, *property;
	double *took;
};

static int ask(sd_bus *bus, const struct subject *subject)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;
	if (strcmp(subject->property, "-") == 0)
		r = sd_bus_call_method(bus, subject->destination, subject->path, "org.freedesktop.DBus.Peer", "Ping", &error, &reply, "");
	else
		r = sd_bus_call_method(bus, subject->destination, subject->path, "org.freedesktop.DBus.Properties", "Get", &error, &reply, "ss",
			subject->interface, subject->property);
	if (r < 0)
		fprintf(stderr, "%s %s: %s\n", subject->destination, subject->property, error.message);
	return r;
}

static void shuffle(size_t *order, size_t count)
{
	static unsigned seed = 1;
	for (size_t i = count; i > 1; i--) {
		size_t other = (size_t)rand_r(&seed) % i, kept = order[i - 1];
		order[i - 1] = order[other];
		order[other] = kept;
	}
}

int main(int argc, char **argv)
{
	size_t rounds = argc > 5 && (argc - 2) % 4 == 0 ? strtoul(argv[1], NULL, 10) : 0, count = ((size_t)argc - 2) / 4;
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	if (rounds == 0 || sd_bus_open_system(&bus) < 0) {
		fprintf(stderr, "usage: bus-load ROUNDS (DESTINATION PATH INTERFACE PROPERTY)..., and a bus\n");
		return EXIT_FAILURE;
	}
	struct subject *subjects = xcalloc(count, sizeof *subjects);
	size_t *order = xcalloc(count, sizeof *order);
	for (size_t i = 0; i < count; i++) {
		order[i] = i;
		subjects[i] = (struct subject){argv[2 + 4 * i], argv[3 + 4 * i], argv[4 + 4 * i], argv[5 + 4 * i], xcalloc(rounds, sizeof(double))};
	}
	for (size_t round = 0; round < WARM_UP + rounds; round++) {
		shuffle(order, count);
		for (size_t turn = 0; turn < count; turn++) {
			const struct subject *subject = &subjects[order[turn]];
			uint64_t begun = now_nsec();
			if (ask(bus, subject) < 0)
				return EXIT_FAILURE;
			if (round >= WARM_UP)
				subject->took[round - WARM_UP] = usec_since(begun);
		}
	}
	for (size_t i = 0; i < count; i++) {
		printf("%.3f\n", median(subjects[i].took, rounds));
		free(subjects[i].took);
	}
	free(order);
	free(subjects);
	return EXIT_SUCCESS;
}
