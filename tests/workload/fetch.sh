#!/bin/bash
# fetch.sh [PACKAGE...]: puts the source trees that tests and benchmarks build into .cache/ beside this script, one
# directory a package. Without arguments:
#
#   hello   GNU hello: a long configure script of many short-lived processes
#   gdbm    libtool: some forty C files compiled twice, archives, links, renames and removals
#
# contrib/bmake/build.sh asks for bmake.
#
# Does nothing for a tree that is there. The sources come from the archive that this Debian or Ubuntu machine already
# trusts: its own entries, asked for sources too, in a private apt configuration. The machine's configuration and package
# lists stay as they are. Only build tools that are missing are installed, for which one must be root.
set -eu

packages=("$@")
[ $# -gt 0 ] || packages=(hello gdbm)
cd "$(dirname "$0")"
mkdir -p .cache

missing=()
for package in "${packages[@]}"; do
	[ -d ".cache/$package" ] || missing+=("$package")
done
tools=()
for tool in gcc make dpkg-source; do
	command -v "$tool" >/dev/null || tools+=("$tool")
done
if [ ${#missing[@]} -eq 0 ] && [ ${#tools[@]} -eq 0 ]; then
	exit 0
fi

# Beside the trees, so that a finished one gets its place by one rename.
staging=$(mktemp -d .cache/staging.XXXXXX)
trap 'rm -rf "$staging"' EXIT
staging=$(cd "$staging" && pwd)

# The machine's entries, of both formats, each asked for packages and sources. What is disabled there stays disabled.
# The installation medium (cdrom:) has no sources.
private="$staging/sources"
mkdir -p "$private" "$staging/lists/partial" "$staging/cache/archives/partial"
eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
for file in "$list" "$parts"/*.list; do
	[ -f "$file" ] || continue
	sed -nE '/cdrom:/d; s/[[:space:]]*#.*//; s/^[[:space:]]*deb(-src)?([[:space:]].*)$/deb\2\ndeb-src\2/p' "$file" |
		sort -u >"$private/$(basename "$file")"
done
for file in "$parts"/*.sources; do
	[ -f "$file" ] || continue
	sed -E 's/^[Tt]ypes:.*$/Types: deb deb-src/' "$file" >"$private/$(basename "$file")"
done

# Sandbox::User: the download is not worth a directory that the user _apt may write to.
apt=(apt-get -q=2
	-o "Dir::Etc::SourceList=/dev/null"
	-o "Dir::Etc::SourceParts=$private"
	-o "Dir::State::Lists=$staging/lists"
	-o "Dir::Cache=$staging/cache"
	-o "APT::Sandbox::User=$(id -un)")

# A third party's archive without sources, or one out of reach, must not stop us: what counts is what comes next.
"${apt[@]}" update || true

if [ ${#tools[@]} -gt 0 ]; then
	DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends gcc libc6-dev make dpkg-dev
fi

for package in ${missing[@]+"${missing[@]}"}; do
	mkdir "$staging/$package.download"
	(
		cd "$staging/$package.download"
		"${apt[@]}" source --download-only "$package"
		# apt has checked the hashes. Debian's patches would be newer than what they patch: make would then run
		# autoconf, which need not be here.
		dpkg-source --no-check --skip-patches -x ./*.dsc "$staging/$package" >/dev/null
	)
	mv "$staging/$package" ".cache/$package"
done
