// Names with newline, blank, quotes, backslash, angle brackets, UTF-8 and bytes that are no UTF-8.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
	char *names[] = {"new\nline", "x\nW 1 forged", "a b", "it's", "back\\slash\\n", "<a>, (b) = 3", "\"q\"", "\303\244", "\377\201",
			 "x <unfinished ...>", "tab\t1\r\v\f\a\1772"};
	for (int i = 0; i < sizeof names / sizeof *names; i++) {
		mkdir(names[i], 0700);
		chdir(names[i]);
		close(open(names[i], O_WRONLY | O_CREAT, 0600));
		rename(names[i], "plain");
		link("plain", names[i]);
		unlink("plain");
		unlink(names[i]);
		symlink(names[i], "link");
		unlink("link");
		chdir("..");
		rmdir(names[i]);
	}
}
