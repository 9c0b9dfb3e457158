/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/sim/sim.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"sim [exhaustive | random | replay] [OPTION…]    the lifecycle under a simulated kernel, workers, disk and clock\n"
	"\n"
	"  exhaustive            every reachable state of a small universe with every event, to closure\n"
	"  random                episodes of random operations, one seed each\n"
	"  replay                one episode again; a failure is made short and printed\n"
	"  (none)                exhaustive, then random, both small\n"
	"\n"
	"  --seed N              the first seed (1)\n"
	"  --events N            how many events, for random (1000000)\n"
	"  --jobs N              over so many processes, each with seeds of its own (1)\n"
	"  --steps N             how many operations, for replay (10000)\n"
	"  --states N            the most states, for exhaustive; more is a failure (4000000)\n"
	"  --brief               random: a failure is named, and neither made short nor printed\n"
	"  --verbose             replay: print everything that happens\n"
	"  --help\n";

static int usage(FILE *file, int status)
{
	fputs(help, file);
	return status;
}

static bool read_options(int argc, char **argv, struct sim_options *ret)
{
	static const struct option known[] = {{"seed", required_argument, NULL, 's'}, {"events", required_argument, NULL, 'e'}, {"jobs", required_argument, NULL, 'j'},
		{"steps", required_argument, NULL, 'n'}, {"states", required_argument, NULL, 't'}, {"verbose", no_argument, NULL, 'v'}, {"brief", no_argument, NULL, 'b'}, {"help", no_argument, NULL, 'h'}, {}};
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
		switch (option) {
		case 's':
			ret->seed = number;
			break;
		case 'e':
			ret->events = number;
			break;
		case 'j':
			ret->jobs = number ? (unsigned)number : 1;
			break;
		case 'n':
			ret->steps = number;
			break;
		case 't':
			ret->states = number;
			break;
		case 'v':
			ret->verbose = true;
			break;
		case 'b':
			ret->brief = true;
			break;
		case 'h':
			exit(usage(stdout, 0));
		default:
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	struct sim_options options = {.seed = 1, .events = 1000000, .jobs = 1, .steps = EPISODE_STEPS, .states = 4000000};
	if (!read_options(argc, argv, &options))
		return usage(stderr, 2);
	json_global_set_string_hash(JSON_C_STR_HASH_PERLLIKE); /* nobody attacks it here, and state is saved and loaded often */
	const char *what = optind < argc ? argv[optind] : "";
	if (strcmp(what, "exhaustive") == 0)
		return exhaustive_main(&options);
	if (strcmp(what, "random") == 0)
		return random_main(&options);
	if (strcmp(what, "replay") == 0)
		return replay_main(&options);
	if (what[0])
		return usage(stderr, 2);
	int r = exhaustive_main(&options);
	return random_main(&options) | r;
}
