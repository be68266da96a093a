// A call that is meant to succeed and does not would leave nothing to compare, so it ends the program.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define must(call)                                                                                       \
	({                                                                                               \
		long got = (long)(call);                                                                 \
		if (got < 0) {                                                                           \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, strerror(errno));  \
			exit(1);                                                                         \
		}                                                                                        \
		got;                                                                                     \
	})

#define fails(call, why)                                                                                 \
	({                                                                                               \
		if ((call) >= 0 || errno != (why)) {                                                     \
			fprintf(stderr, "%s:%d: %s: did not fail so\n", __FILE__, __LINE__, #call);       \
			exit(1);                                                                         \
		}                                                                                        \
	})
