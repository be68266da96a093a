// System calls by their numbers: native ones, or with -DINT80 and in 32-bit
// programs those of i386.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__i386__) || defined(INT80)
#define COMPAT 1
#define NR(native, compat) compat
#else
#define COMPAT 0
#define NR(native, compat) native
#endif

static long call(long nr, long a, long b, long c, long d, long e)
{
	long ret;
#if COMPAT
	asm volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
#ifdef __x86_64__
		     : "memory", "r8", "r9", "r10", "r11");
#else
		     : "memory");
#endif
	return (int)ret;
#else
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	asm volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "memory", "rcx", "r11");
	return ret;
#endif
}

static long check(int line, long ret)
{
	if (ret < 0) {
		fprintf(stderr, "line %d: %s\n", line, strerror(-ret));
		exit(1);
	}
	return ret;
}

#define DO(nr, a, b, c, d, e) check(__LINE__, call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e)))
#define FAIL(nr, a, b, c) (call(nr, (long)(a), (long)(b), (long)(c), 0, 0) < 0 ? 0 : (exit(2), 0))
