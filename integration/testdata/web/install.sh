#!/bin/sh
# Installs what the tests with a browser need from npm, outside of the repository, and prints where: a directory with
# node_modules in it. The versions are those of the examples and of the package.json here; another version is another
# directory. A second call finds everything in place. Needs node and npm; as root it installs Debian's npm if there is none.
set -eu
cd "$(dirname "$0")"
root=../../..
manifests="package.json ../wsclients/package.json $root/examples/web-*/package.json"

command -v npm >/dev/null || "$root/scripts/test-deps.sh" npm >&2

# shellcheck disable=SC2086 # the list is meant to be split
dir=${XDG_CACHE_HOME:-$HOME/.cache}/gatehouse-test/npm-$(cat $manifests | sha256sum | cut -c 1-16)
if [ ! -d "$dir" ]; then
	mkdir -p "${dir%/*}"
	new=$(mktemp -d "$dir.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	# shellcheck disable=SC2086
	node -e '
		const all = process.argv.slice(1).map((path) => JSON.parse(require("fs").readFileSync(path)).dependencies);
		console.log(JSON.stringify({ private: true, dependencies: Object.assign({}, ...all) }));
	' $manifests >"$new/package.json"
	# Nothing that comes from there is run while it is installed.
	npm install --prefix "$new" --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	# Two may do this at once; the second finds the first one's directory.
	mv -T "$new" "$dir" 2>/dev/null || [ -d "$dir" ]
fi
printf '%s\n' "$dir"
