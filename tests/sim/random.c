/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Episodes: one seed each makes the policies and a few thousand operations. A failure is made short, and printed with what happened. */

#include "tests/sim/sim.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RENDER_EVERY 2048
#define PROGRESS_EVERY 50000000 /* events */

/* splitmix64, Steele et al. 2014: neighbouring seeds give unlike streams. */
uint64_t sim_draw(uint64_t *random)
{
	uint64_t z = *random += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static void begin(uint64_t seed, uint64_t *random, struct world *world, FILE *trace)
{
	*random = seed;
	for (size_t i = 0; i < SIM_POLICIES; i++) {
		char *text = NULL;
		uint64_t draw = sim_draw(random);
		sim_policy_make(draw % 4 == 0 ? draw / 4 % sim_small_policies : draw, &world->policies[i], trace ? &text : NULL);
		if (trace)
			fprintf(trace, "policy %zu: %s\n", i, text);
		free(text);
	}
	world_init(world, sim_draw(random), 0);
	world->trace = trace;
	world->render_every = RENDER_EVERY;
	world_start_daemon(world);
}

bool episode_run(uint64_t seed, size_t steps, struct op *ops, size_t *ret_done, struct world *world)
{
	uint64_t random;
	size_t done = 0;
	begin(seed, &random, world, NULL);
	while (done < steps && !world->violation.happened) {
		ops[done] = op_random(world, &random);
		op_apply(world, ops[done++]);
	}
	*ret_done = done;
	world_done(world);
	return !world->violation.happened;
}

bool episode_replay(uint64_t seed, const struct op *ops, size_t count, struct world *world, FILE *trace)
{
	uint64_t random;
	begin(seed, &random, world, trace);
	for (size_t i = 0; i < count && !world->violation.happened; i++) {
		if (trace) {
			fprintf(trace, "%3zu. ", i + 1);
			op_print(trace, ops[i]);
			fprintf(trace, "\n");
		}
		op_apply(world, ops[i]);
	}
	world_done(world);
	world->trace = NULL;
	return !world->violation.happened;
}

static void report(uint64_t seed, struct op *ops, size_t count, struct world *world)
{
	enum invariant invariant = world->violation.invariant;
	size_t less = shrink(seed, ops, count, invariant, world);
	printf("# violated: %s: %s\n# seed %llu, after %zu operations, of which %zu are needed:\n", invariant_name(invariant), invariant_sentence(invariant),
		(unsigned long long)seed, count, less);
	(void)episode_replay(seed, ops, less, world, stdout);
	printf("# %s\n# again: sim replay --seed %llu --steps %zu\n", world->violation.text, (unsigned long long)seed, count);
	fflush(stdout);
}

/* Seeds FIRST + CORE, and on by the number of cores, until EVENTS have been fed. The steps fed; 0 after a violation. */
static uint64_t run(uint64_t first, unsigned core, unsigned cores, uint64_t events, bool brief, struct world *world)
{
	static struct op ops[EPISODE_STEPS];
	uint64_t fed = 0, steps_before = world->steps, told = 0;
	for (uint64_t seed = first + core; fed < events; seed += cores) {
		size_t done;
		bool good = episode_run(seed, EPISODE_STEPS, ops, &done, world);
		fed = world->steps - steps_before;
		if (fed / PROGRESS_EVERY > told && fed < events) {
			told = fed / PROGRESS_EVERY;
			printf("# core %u: %llu of %llu events so far\n", core, (unsigned long long)fed, (unsigned long long)events);
			fflush(stdout);
		}
		if (good)
			continue;
		uint64_t after = fed;
		if (!brief)
			report(seed, ops, done, world);
		printf("# caught by %s after %llu events\n", invariant_name(world->violation.invariant), (unsigned long long)after);
		return 0;
	}
	return fed;
}

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_job(const struct sim_options *options, unsigned job)
{
	static struct world world;
	double began = seconds(CLOCK_PROCESS_CPUTIME_ID); /* of this process: others on the machine make no difference to it */
	uint64_t fed = run(options->seed, job, options->jobs, options->events / options->jobs, options->brief, &world);
	double took = seconds(CLOCK_PROCESS_CPUTIME_ID) - began;
	if (fed == 0)
		return 1;
	printf("# core %u: %llu events, %llu effects, %llu gates rendered, %.0f events per second of CPU time\n", job, (unsigned long long)fed, (unsigned long long)world.effects,
		(unsigned long long)world.renders, (double)fed / took);
	return 0;
}

int random_main(const struct sim_options *options)
{
	bool good = true;
	for (unsigned job = 1; job < options->jobs; job++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			int r = run_job(options, job);
			fflush(stdout);
			_exit(r);
		}
		good &= pid > 0;
	}
	good &= run_job(options, 0) == 0;
	for (int status; wait(&status) > 0;)
		good &= status == 0;
	printf("%sok - sim: %llu random events from seed %llu violate nothing\n", good ? "" : "not ", (unsigned long long)options->events, (unsigned long long)options->seed);
	return !good;
}

int replay_main(const struct sim_options *options)
{
	static struct world world;
	static struct op ops[EPISODE_STEPS];
	size_t done, steps = options->steps < EPISODE_STEPS ? options->steps : EPISODE_STEPS;
	bool good = episode_run(options->seed, steps, ops, &done, &world);
	if (good && options->verbose)
		(void)episode_replay(options->seed, ops, done, &world, stdout);
	if (!good)
		report(options->seed, ops, done, &world);
	printf("%sok - sim: %zu operations of seed %llu\n", good ? "" : "not ", done, (unsigned long long)options->seed);
	return !good;
}
