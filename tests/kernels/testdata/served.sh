#!/bin/sh
# served.sh COMMAND [ARGUMENTS]: runs a command while fanrec is /dev/filemon, with
# no more capabilities than it needs.
set -eu
setpriv --bounding-set=-all,+sys_admin,+dac_read_search,+bpf,+perfmon,+sys_ptrace /bin/fanrec serve --cuse --socket /tmp/socket &
service=$!
until [ -c /dev/filemon ]; do
	kill -0 $service
	sleep 0.1
done
status=0
"$@" || status=$?
kill $service
wait $service # it has succeeded
exit $status
