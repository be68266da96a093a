/* Where FreeBSD has it. */
#include "../../filemon.h"
