/* Seeded random numbers (xoshiro256**, seeded through splitmix64). The same seed gives the same sequence on
 * every machine; not for secrets. */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, 1). */
double rng_unit(struct rng *r);
/* Exponentially distributed with the given mean. */
double rng_exponential(struct rng *r, double mean);
