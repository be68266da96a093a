#!/bin/bash
# Puts Debian's kernels into .cache/ beside this script, one directory a suite: vmlinuz and kernel/, its modules. Does
# nothing for one that is there. They are unpacked, not installed.
#
# The packages come from the archive that this Debian machine already trusts: its address and its keys are taken from the
# machine's own entries, the other suites are asked for in a private apt configuration. The machine's configuration and
# package lists stay as they are.
set -eu

suites=(bullseye bookworm trixie sid)
cd "$(dirname "$0")"
mkdir -p .cache

missing=()
for suite in "${suites[@]}"; do
	[ -d ".cache/$suite" ] || missing+=("$suite")
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

# Beside the kernels, so that a finished one gets its place by one rename.
staging=$(mktemp -d .cache/staging.XXXXXX)
trap 'rm -rf "$staging"' EXIT
staging=$(cd "$staging" && pwd)
mkdir -p "$staging/sources" "$staging/lists/partial" "$staging/cache/archives/partial"

fail() {
	echo "$0: $1: the kernels of ${missing[*]} cannot be had" >&2
	exit 1
}

# Sandbox::User: the download is not worth a directory that the user _apt may write to. Only amd64, and only the lists of
# packages.
apt=(-q=2
	-o "Dir::State::Lists=$staging/lists"
	-o "Dir::Cache=$staging/cache"
	-o "APT::Sandbox::User=$(id -un)"
	-o "APT::Architecture=amd64" -o "APT::Architectures::=amd64"
	-o "Acquire::Languages=none"
	-o "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false")

# Where the machine gets Debian and its security updates from. Only the lists say whose archive an entry is; those of the
# machine may have been removed, so they are had anew.
apt-get "${apt[@]}" update || true
declare -A archive
while read -r label address; do
	archive[$label]=${archive[$label]-$address}
done < <(apt-get "${apt[@]}" indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian')
[ -n "${archive[Debian]-}" ] || fail "no entry of apt is Debian's archive, or it cannot be reached"

keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keys" ] || fail "no $keys"
for suite in "${missing[@]}"; do
	echo "deb [signed-by=$keys] ${archive[Debian]} $suite main"
	if [ "$suite" != sid ] && [ -n "${archive[Debian-Security]-}" ]; then
		echo "deb [signed-by=$keys] ${archive[Debian-Security]} $suite-security main"
	fi
done >"$staging/sources/kernels.list"
apt+=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$staging/sources")
apt-get "${apt[@]}" update || true # what counts is what comes next

# packages NAME VERSION: what it needs of the kernel itself. Newer ones are in several parts.
packages() {
	echo "$1"
	local p
	for p in $(apt-cache "${apt[@]}" show "$1=$2" | sed -n 's/^Depends: //p' |
		grep -oE 'linux-(image|binary|modules)-[0-9][^ ,]*'); do
		packages "$p" "$2"
	done
}

name=linux-image-cloud-amd64
for suite in "${missing[@]}"; do
	# Newest first.
	version=$(apt-cache "${apt[@]}" madison $name | awk -F ' *[|] *' -v s="$suite" \
		'$3 ~ " " s "(-security)?/" && !found { print $2; found = 1 }')
	[ -n "$version" ] || fail "no $name in $suite"
	work="$staging/$suite"
	mkdir "$work" "$work.debs" "$work.tree"
	for package in $(packages $name "$version"); do
		[ "$package" = $name ] || (cd "$work.debs" && apt-get "${apt[@]}" download "$package=$version") || fail "$package"
	done
	for deb in "$work.debs"/*.deb; do
		dpkg-deb -x "$deb" "$work.tree"
	done
	find "$work.tree" -name 'vmlinuz*' -type f -exec mv {} "$work/vmlinuz" \;
	find "$work.tree" -path '*/modules/*/kernel' -type d -prune -exec mv {} "$work/kernel" \;
	[ -f "$work/vmlinuz" ] && [ -d "$work/kernel" ] || fail "another layout of $name $version"
	mv "$work" ".cache/$suite"
	rm -rf "$work".*
done
