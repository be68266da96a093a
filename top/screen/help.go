package screen

// helpText is what h shows. The help of the command has the keys, too.
const helpText = `fanrec top: any key goes on

  up, down, j, k     the row above, below      tab, left, right   the other side
  PgUp, PgDn         a page                    Home, End, g, G    the first, last row

  enter              into a process: what it and its descendants do;
                     into a directory: what is below it; into a file: who uses it
  esc, backspace     back: without the filter, then out again

  s, >   S, <        sort by the next column, by the one before
  r                  the least first
  t                  numbers in all, or per second
  d                  files, or the directories that they are in
  v                  processes as a tree, or not
  i                  without processes that do nothing, or with them
  /                  only names with this in it, or that match (*, ?, [])
  space, f           freeze what is shown; all is counted all the same
  ^L                 draw again
  ^Z                 stop, until fg
  q, ^C              quit`
