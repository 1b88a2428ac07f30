#!/bin/sh
# Installs the Debian packages that the test suite needs and this machine lacks. With everything in place it is silent
# and needs no rights. Without root it says in one line what to run.
#
# Usage: scripts/test-deps.sh [--list | PACKAGE...]    with names: those packages as well
set -eu

# One package a line, and who needs it.
packages='
gcc                the race detector
libc6-dev          the race detector
python3            the client scripts of integration/
python3-slixmpp    an XMPP client that we did not write
python3-nbxmpp     another one, the library of Gajim
go-sendxmpp        another one, on mellium
openssl            certificates and TLS as others do them
sslscan            what can be had at the ports with TLS
lua5.4             the reference for config files
lua-check          luacheck, for the Prosody module
fail2ban           the filter of contrib/fail2ban
python3-systemd    fail2ban, where it reads the journal
systemd            journalctl for the queries of docs/log.md; systemd-analyze rates the unit
systemd-journal-remote  to make a journal for it
jq                 a query of docs/log.md
logrotate          the rules of docs/log.md
chromium           the status page, as a browser shows it
fonts-dejavu-core  something for the browser to write with
e2fsprogs          a data directory that becomes read-only
mount              the same
bash               shell completion, as are the next two
zsh
fish
mandoc             the manual pages
curl               docs/: the control socket, readiness
perl               an example script of docs/configure.md
php-cli            another one; examples/mint-php
nodejs             examples/mint-node; drives the browser for examples/web-*
prometheus         TestMetrics; promtool, for the rules of docs/metrics.md; not started as a service
ejabberd           a server behind; it is not started
prosody            the reference for config files, and the server behind; it is not started as a service
prosody-modules    its mod_auth_ccert, for internal/upstream
haproxy            what bench/ measures the relay beside; docs/web.md; not started as a service
nginx-light        docs/web.md; not started as a service
redis-server       internal/state, docs/several-fronts.md; not started as a service
'
names=$(printf '%s' "$packages" | awk 'NF { print $1 }')

if [ "${1-}" = --list ]; then
	printf '%s\n' "$names"
	exit 0
fi

missing=
for name in $names "$@"; do
	status=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "test packages are missing; run: sudo apt-get update && sudo apt-get install --yes --no-install-recommends$missing" >&2
	exit 1
fi

# Packages of servers start them when they are installed; this keeps them from it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install() {
	# shellcheck disable=SC2086 # the list is meant to be split
	apt-get install --option DPkg::Lock::Timeout=300 --quiet=2 --yes --no-install-recommends $missing >"$log" 2>&1
}
echo "installing for the tests:$missing" >&2
# The list of packages may be missing or old; it is fetched only then.
if ! install; then
	apt-get update --quiet=2 >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	install || { cat "$log" >&2; exit 1; }
fi
rm -f "$log"
