//go:build ignore

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which system calls are call records, and where their arguments are. One row
 * a call, native and 32-bit tables apart: number 5 is fstat to a 64-bit
 * program and open to a 32-bit one.
 */
#pragma once

/* enum op is mirrored by Op in event.go. */
enum op {
	OP_NONE,
	OP_OPEN,     /* every form: what counts is the descriptor returned */
	OP_CHDIR,    /* chdir and fchdir: what counts is where the thread is now */
	OP_CHROOT,
	OP_RENAME,
	OP_UNLINK,
	OP_RMDIR,
	OP_MKDIR,
	OP_MKNOD,
	OP_LINK,
	OP_SYMLINK,  /* path[0] is the text of the link, not a path */
	OP_TRUNCATE,
	OP_BIND,     /* path[0] is a sockaddr, its length follows it */
	OP_MOUNT,    /* whatever changes a mount table or enters another; no path */
	OP_RING,     /* io_uring_setup: the process has a ring */
	OP_SOCKCALL, /* i386: bind inside socketcall(2) */
	OP_ABSENT,   /* of lookups below, one that found nothing */
};

/* Argument numbers; NOARG: the call has none. */
#define NOARG 15

struct call_row {
	__u8 op;
	__u8 dfd0, path0; /* first path and what it is relative to */
	__u8 dfd1, path1; /* second path */
	__u8 flags;
	__u8 pad[2];
};

#define PLAIN(op)               { op, NOARG, NOARG, NOARG, NOARG, NOARG }
#define ONE(op)                 { op, NOARG, 0, NOARG, NOARG, NOARG }
#define ONE_AT(op)              { op, 0, 1, NOARG, NOARG, NOARG }
#define TWO(op)                 { op, NOARG, 0, NOARG, 1, NOARG }
#define TWO_AT(op, flags)       { op, 0, 1, 2, 3, flags }
#define TEXT(op)                { op, NOARG, 0, NOARG, 1, NOARG }
#define TEXT_AT(op)             { op, NOARG, 0, 1, 2, NOARG }

#define CALLS_MAX 512

/* Calls that look a path up: it is the first argument, or behind what it is relative to. */
enum lookup { NO_LOOKUP, LOOKUP, LOOKUP_AT };

#if defined(__TARGET_ARCH_x86)
static const volatile struct call_row native_calls[CALLS_MAX] = {
	[2] = PLAIN(OP_OPEN),    [85] = PLAIN(OP_OPEN),  /* open, creat */
	[257] = PLAIN(OP_OPEN),  [437] = PLAIN(OP_OPEN), /* openat, openat2 */
	[304] = PLAIN(OP_OPEN),                          /* open_by_handle_at */
	[80] = PLAIN(OP_CHDIR),  [81] = PLAIN(OP_CHDIR), /* chdir, fchdir */
	[161] = PLAIN(OP_CHROOT),
	[82] = TWO(OP_RENAME),   [264] = TWO_AT(OP_RENAME, NOARG), [316] = TWO_AT(OP_RENAME, 4),
	[87] = ONE(OP_UNLINK),   [263] = { OP_UNLINK, 0, 1, NOARG, NOARG, 2 },
	[84] = ONE(OP_RMDIR),
	[83] = ONE(OP_MKDIR),    [258] = ONE_AT(OP_MKDIR),
	[133] = ONE(OP_MKNOD),   [259] = ONE_AT(OP_MKNOD),
	[86] = TWO(OP_LINK),     [265] = TWO_AT(OP_LINK, 4),
	[88] = TEXT(OP_SYMLINK), [266] = TEXT_AT(OP_SYMLINK),
	[76] = ONE(OP_TRUNCATE),
	[49] = { OP_BIND, NOARG, 1, NOARG, NOARG, 2 },
	[165] = PLAIN(OP_MOUNT), [166] = PLAIN(OP_MOUNT), /* mount, umount2 */
	[155] = PLAIN(OP_MOUNT), [429] = PLAIN(OP_MOUNT), /* pivot_root, move_mount */
	[272] = PLAIN(OP_MOUNT), [308] = PLAIN(OP_MOUNT), /* unshare, setns */
	[425] = PLAIN(OP_RING),
};

static const volatile __u8 native_lookups[CALLS_MAX] = {
	[2] = LOOKUP,      [85] = LOOKUP,      /* open, creat */
	[257] = LOOKUP_AT, [437] = LOOKUP_AT,  /* openat, openat2 */
	[4] = LOOKUP,      [6] = LOOKUP,       /* stat, lstat */
	[262] = LOOKUP_AT, [332] = LOOKUP_AT,  /* newfstatat, statx */
	[21] = LOOKUP,     [269] = LOOKUP_AT, [439] = LOOKUP_AT, /* access, faccessat, faccessat2 */
	[89] = LOOKUP,     [267] = LOOKUP_AT,  /* readlink, readlinkat */
	[59] = LOOKUP,     [322] = LOOKUP_AT,  /* execve, execveat */
	[80] = LOOKUP,                         /* chdir */
};

/* i386 numbers, for int 0x80 and 32-bit programs. */
static const volatile struct call_row compat_calls[CALLS_MAX] = {
	[5] = PLAIN(OP_OPEN),    [8] = PLAIN(OP_OPEN),
	[295] = PLAIN(OP_OPEN),  [437] = PLAIN(OP_OPEN),
	[342] = PLAIN(OP_OPEN),
	[12] = PLAIN(OP_CHDIR),  [133] = PLAIN(OP_CHDIR),
	[61] = PLAIN(OP_CHROOT),
	[38] = TWO(OP_RENAME),   [302] = TWO_AT(OP_RENAME, NOARG), [353] = TWO_AT(OP_RENAME, 4),
	[10] = ONE(OP_UNLINK),   [301] = { OP_UNLINK, 0, 1, NOARG, NOARG, 2 },
	[40] = ONE(OP_RMDIR),
	[39] = ONE(OP_MKDIR),    [296] = ONE_AT(OP_MKDIR),
	[14] = ONE(OP_MKNOD),    [297] = ONE_AT(OP_MKNOD),
	[9] = TWO(OP_LINK),      [303] = TWO_AT(OP_LINK, 4),
	[83] = TEXT(OP_SYMLINK), [304] = TEXT_AT(OP_SYMLINK),
	[92] = ONE(OP_TRUNCATE), [193] = ONE(OP_TRUNCATE),
	[361] = { OP_BIND, NOARG, 1, NOARG, NOARG, 2 },
	[102] = { OP_SOCKCALL, NOARG, 1, NOARG, NOARG, 0 },
	[21] = PLAIN(OP_MOUNT),  [22] = PLAIN(OP_MOUNT), [52] = PLAIN(OP_MOUNT),
	[217] = PLAIN(OP_MOUNT), [429] = PLAIN(OP_MOUNT),
	[310] = PLAIN(OP_MOUNT), [346] = PLAIN(OP_MOUNT),
	[425] = PLAIN(OP_RING),
};

static const volatile __u8 compat_lookups[CALLS_MAX] = {
	[5] = LOOKUP,      [8] = LOOKUP,
	[295] = LOOKUP_AT, [437] = LOOKUP_AT,
	[18] = LOOKUP,     [84] = LOOKUP, /* oldstat, oldlstat */
	[106] = LOOKUP,    [107] = LOOKUP,
	[195] = LOOKUP,    [196] = LOOKUP, /* stat64, lstat64 */
	[300] = LOOKUP_AT, [383] = LOOKUP_AT,
	[33] = LOOKUP,     [307] = LOOKUP_AT, [439] = LOOKUP_AT,
	[85] = LOOKUP,     [305] = LOOKUP_AT,
	[11] = LOOKUP,     [358] = LOOKUP_AT,
	[12] = LOOKUP,
};
#else
static const volatile struct call_row native_calls[CALLS_MAX] = {
	[56] = PLAIN(OP_OPEN),   [437] = PLAIN(OP_OPEN), [265] = PLAIN(OP_OPEN),
	[49] = PLAIN(OP_CHDIR),  [50] = PLAIN(OP_CHDIR),
	[51] = PLAIN(OP_CHROOT),
	[38] = TWO_AT(OP_RENAME, NOARG), [276] = TWO_AT(OP_RENAME, 4),
	[35] = { OP_UNLINK, 0, 1, NOARG, NOARG, 2 },
	[34] = ONE_AT(OP_MKDIR),
	[33] = ONE_AT(OP_MKNOD),
	[37] = TWO_AT(OP_LINK, 4),
	[36] = TEXT_AT(OP_SYMLINK),
	[45] = ONE(OP_TRUNCATE),
	[200] = { OP_BIND, NOARG, 1, NOARG, NOARG, 2 },
	[40] = PLAIN(OP_MOUNT),  [39] = PLAIN(OP_MOUNT), [41] = PLAIN(OP_MOUNT),
	[429] = PLAIN(OP_MOUNT), [97] = PLAIN(OP_MOUNT), [268] = PLAIN(OP_MOUNT),
	[425] = PLAIN(OP_RING),
};

static const volatile __u8 native_lookups[CALLS_MAX] = {
	[56] = LOOKUP_AT,  [437] = LOOKUP_AT,
	[79] = LOOKUP_AT,  [291] = LOOKUP_AT,
	[48] = LOOKUP_AT,  [439] = LOOKUP_AT,
	[78] = LOOKUP_AT,
	[221] = LOOKUP,    [281] = LOOKUP_AT,
	[49] = LOOKUP,
};

/* arm (EABI) numbers, for 32-bit programs. */
static const volatile struct call_row compat_calls[CALLS_MAX] = {
	[5] = PLAIN(OP_OPEN),    [8] = PLAIN(OP_OPEN),
	[322] = PLAIN(OP_OPEN),  [437] = PLAIN(OP_OPEN),
	[371] = PLAIN(OP_OPEN),
	[12] = PLAIN(OP_CHDIR),  [133] = PLAIN(OP_CHDIR),
	[61] = PLAIN(OP_CHROOT),
	[38] = TWO(OP_RENAME),   [329] = TWO_AT(OP_RENAME, NOARG), [382] = TWO_AT(OP_RENAME, 4),
	[10] = ONE(OP_UNLINK),   [328] = { OP_UNLINK, 0, 1, NOARG, NOARG, 2 },
	[40] = ONE(OP_RMDIR),
	[39] = ONE(OP_MKDIR),    [323] = ONE_AT(OP_MKDIR),
	[14] = ONE(OP_MKNOD),    [324] = ONE_AT(OP_MKNOD),
	[9] = TWO(OP_LINK),      [330] = TWO_AT(OP_LINK, 4),
	[83] = TEXT(OP_SYMLINK), [331] = TEXT_AT(OP_SYMLINK),
	[92] = ONE(OP_TRUNCATE), [193] = ONE(OP_TRUNCATE),
	[282] = { OP_BIND, NOARG, 1, NOARG, NOARG, 2 },
	[21] = PLAIN(OP_MOUNT),  [52] = PLAIN(OP_MOUNT), [218] = PLAIN(OP_MOUNT),
	[429] = PLAIN(OP_MOUNT), [337] = PLAIN(OP_MOUNT), [375] = PLAIN(OP_MOUNT),
	[425] = PLAIN(OP_RING),
};

static const volatile __u8 compat_lookups[CALLS_MAX] = {
	[5] = LOOKUP,      [8] = LOOKUP,
	[322] = LOOKUP_AT, [437] = LOOKUP_AT,
	[106] = LOOKUP,    [107] = LOOKUP,
	[195] = LOOKUP,    [196] = LOOKUP,
	[327] = LOOKUP_AT, [397] = LOOKUP_AT,
	[33] = LOOKUP,     [334] = LOOKUP_AT, [439] = LOOKUP_AT,
	[85] = LOOKUP,     [332] = LOOKUP_AT,
	[11] = LOOKUP,     [387] = LOOKUP_AT,
	[12] = LOOKUP,
};
#endif
