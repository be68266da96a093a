# What is done in the machine of TestSystemd, in sections as tests/kernels/init writes them.
exec >/dev/ttyS1 2>&1

step() {
	echo "=== begin $1"
	local begin=$SECONDS how=ok status
	(set -eu -o pipefail; "$1") # not before || or in an if: -e would do nothing in it
	status=$?
	((status == 0)) || how="exit status $status"
	echo
	echo "=== end $1 $((SECONDS - begin)).0 $how"
}

# until COMMAND...: waits until it succeeds.
until_() {
	local end=$((SECONDS + 60))
	until "$@"; do
		((SECONDS < end)) || { echo "waited too long: $*"; return 1; }
		sleep 0.2
	done
}

# get PORT PATH: what a server answers.
get() {
	exec 3<>"/dev/tcp/127.0.0.1/$1"
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
	cat <&3
	exec 3>&-
}

page() { get 80 "$1" | grep -q "^HTTP/1.1 200"; }

main() { systemctl show -p MainPID --value fanrec@nginx; }

boot() {
	systemctl is-active nginx fanrec@nginx
	page /one.html
	# What the unit leaves to it: the four capabilities, and no way to more.
	grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$(main)/status" | tee /tmp/rights
	grep -q 'CapEff:.*000000c000200004$' /tmp/rights
	grep -q 'CapBnd:.*000000c000200004$' /tmp/rights
	grep -q 'NoNewPrivs:.*1$' /tmp/rights
	grep -q 'Seccomp:.*2$' /tmp/rights
}

reload() {
	systemctl reload fanrec@nginx
	until_ compgen -G '/var/log/fanrec/nginx.jsonl.*'
	page /two.html
}

restart() {
	systemctl restart nginx
	page /three.html
	# What is not written when the recorder is killed is lost.
	until_ grep -q three.html /var/log/fanrec/nginx.jsonl
	until_ grep -q three.html /var/log/fanrec/collected
}

killed() {
	local before
	before=$(main)
	kill -9 "$before"
	changed() { [ "$(main)" != "$before" ] && systemctl is-active -q fanrec@nginx; }
	until_ changed
	page /four.html
}

metrics() {
	get 9435 /metrics | grep '^fanrec_'
}

search() {
	# What is written now lacks nothing, but the one before was cut by the signal.
	local status=0
	fanrec search --key nginx --path '/var/www/html/*' /var/log/fanrec/nginx.jsonl || status=$?
	((status == 125))
}

# Somebody without rights records by the service, which systemd starts for it.
service() {
	systemctl enable -q --now fanrec.socket
	systemctl is-active fanrec.service && return 1
	cd /tmp
	setpriv --reuid nobody --regid nogroup --clear-groups fanrec -q -f jsonl -o /tmp/nobody.jsonl -- cat /etc/hostname
	fanrec search --only R --path /etc/hostname /tmp/nobody.jsonl | grep /etc/hostname
	systemctl is-active fanrec.service
}

said() {
	journalctl -b --no-pager -o cat -u 'fanrec*'
}

export NO_COLOR=1
for s in boot reload restart killed metrics search service said; do
	step $s
done
# Services are stopped as ever: what is read of the disk then is what they left.
systemctl --no-block start poweroff.target
