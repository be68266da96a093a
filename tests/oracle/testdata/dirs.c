// Directories under other names: links made, replaced and removed in the run, a working directory that is renamed, `..` behind a link, removed
// directories, chroot, descriptors of directories.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void touch(const char *name) { close(open(name, O_WRONLY | O_CREAT, 0600)); }

int main(void) {
	mkdir("a", 0700);
	mkdir("a/b", 0700);
	mkdir("c", 0700);
	symlink("a/b", "link");
	mkdir("link/x", 0700); // in a/b
	unlink("link");
	symlink("../c", "a/up");
	symlink("a/up", "link");
	mkdir("link/x", 0700); // in c
	mkdir("link/../y", 0700); // beside c
	rmdir("y");
	rmdir("./link//x/");
	rmdir("a/b/x");

	chdir("link"); // c
	rename("../c", "../a/d");
	mkdir("e", 0700); // a/d/e
	chdir("e");
	rename("../../../a", "../../../z"); // all names above change
	touch("f");
	unlink("f");
	rename(".././e", "../g"); // z/d/g
	chdir("..");
	rmdir("g");
	chdir("../.."); // where we began

	int dir = open("z/b", O_RDONLY | O_DIRECTORY);
	rename("z/b", "b2");
	mkdirat(dir, "m", 0700); // b2/m
	symlinkat("m", dir, "ml");
	mknodat(dir, "ml/fifo", S_IFIFO | 0600, 0);
	renameat(dir, "ml/fifo", AT_FDCWD, "fifo");
	linkat(AT_FDCWD, "fifo", dir, "m/fifo2", 0);
	unlinkat(dir, "m/fifo2", 0);
	unlinkat(dir, "m", AT_REMOVEDIR);
	unlinkat(dir, "ml", 0);
	fchdir(dir);
	unlink("../fifo");
	rmdir("../b2"); // we are in it
	chdir("..");

	unlink("link");
	unlink("z/up");
	rmdir("z/d");
	mkdir("z/root", 0700);
	symlink("/sub", "z/abs");
	chroot("z");
	mkdir("z/sub", 0700); // the working directory is outside
	chdir("/abs");
	touch("/abs/f");
	rename("/abs/f", "/../../f2");
	unlink("../f2");
	chdir("/");
	unlink("abs");
	rmdir("/sub/.././sub");
	rmdir("root");
}
