#!/bin/sh
# Builds the image of the Dockerfile and tries it, started as docs/install.md does it and with as few rights as it says: a login
# from outside, reloads, the health check, the end.
#
# It uses the Docker daemon that is there, or, as root with dockerd and none running, one of its own that it stops again.
# Where Docker's registry cannot be reached and debootstrap is installed, it makes the base images itself, from Debian's
# packages and the Go of this machine.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
container=
volume=gatehouse-test-$$
. scripts/docker-base.sh
cleanup() {
	status=$?
	if [ -n "$container" ]; then
		[ $status -eq 0 ] || docker logs "$container" >&2 || true
		docker rm --force --volumes "$container" >/dev/null 2>&1 || true
		docker volume rm --force "$volume" >/dev/null 2>&1 || true
	fi
	docker_stop
	rm -rf "$work"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { echo "docker-test: $*"; }
fail() { say "$*" >&2; exit 1; }
docker_start || exit 1
docker_debian bookworm
if ! docker_have golang:1.26-bookworm; then
	say "making golang:1.26-bookworm"
	mkdir "$work/golang"
	cp -R "$(go env GOROOT)" "$work/golang/go"
	# Those of this machine, which may be behind a proxy with a certificate of its own.
	cp /etc/ssl/certs/ca-certificates.crt "$work/golang"
	cat >"$work/golang/Dockerfile" <<-'END'
	FROM debian:bookworm-slim
	COPY go /usr/local/go
	COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
	ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	END
	docker build --quiet --tag golang:1.26-bookworm "$work/golang" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
	rm -rf "$work/golang"
fi

say "building the image"
# With the network of this machine, whose proxy may be on 127.0.0.1.
docker build --network host --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy --build-arg GOPROXY="$(go env GOPROXY)" \
	--tag gatehouse:test . >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
go build -o "$work/gatehouse" ./cmd/gatehouse
docker run --rm --entrypoint sh gatehouse:test -c '! command -v go && ! command -v cc && [ ! -e /src ] && [ ! -e /go ]' ||
	fail "the image has what only its making needs"

mkdir "$work/config"
chmod 755 "$work" "$work/config"
cp examples/auth.sh examples/users.txt "$work/config"
chmod 755 "$work/config/auth.sh"
config() {
	cat >"$work/new" <<-END
	gatehouse_self_signed = true
	VirtualHost "localhost"
	authentication = "external"
	external_auth_command = "/etc/prosody/auth.sh"
	external_auth_timeout = $1
	END
	cat "$work/new" >"$work/config/prosody.cfg.lua"
}
config 5
# The command of docs/install.md, but for names, the ports of this machine, and what makes health checks quick.
quick="--health-interval 1s --health-timeout 1s --health-retries 2"
run=$(sed -n '/^docker run /,/[^\\]$/p' docs/install.md | sed \
	-e "s#--name gatehouse#--read-only --cap-drop ALL --security-opt no-new-privileges $quick#" \
	-e "s#-p 5222:5222 -p 5223:5223#-p 127.0.0.1::5222#" \
	-e "s#-v /etc/prosody:#-v '$work/config:#; s#:ro -v gatehouse:#:ro' -v $volume:#; s# gatehouse\$# gatehouse:test#")
case $run in
*"$quick"*"-p 127.0.0.1::5222"*"-v '$work/config:/etc/prosody:ro' -v $volume:"*" gatehouse:test") ;;
*) fail "docs/install.md starts a container in a way that is new here: $run" ;;
esac
container=$(eval "$run")
health_is() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = "$1" ]; }
wait_for 60 health_is healthy || fail "the container does not get healthy"
[ "$(docker exec "$container" id -u)" = 5222 ] || fail "it runs as $(docker exec "$container" id -un)"
address=$(docker port "$container" 5222/tcp | head -1)
log_in() { printf '%s\n' "$1" | "$work/gatehouse" login --insecure --connect "$address" alice@localhost >"$work/log" 2>&1; }
log_in secret || { cat "$work/log" >&2; fail "a good login does not succeed"; }
log_in wrong && fail "a wrong password is accepted"

logged() { docker logs "$container" 2>&1 | grep -q "$1"; }
config 6
wait_for 20 logged '"msg":"reloaded","by":"file".*external_auth_timeout' || fail "it does not take a changed config by itself"
docker kill --signal HUP "$container" >/dev/null
wait_for 20 logged '"by":"SIGHUP"' || fail "it does not reload on SIGHUP"
log_in secret || fail "after the reload a good login does not succeed"
config 7
docker exec "$container" gatehouse reload >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "gatehouse reload fails"; }
echo 'VirtualHost(' >"$work/config/prosody.cfg.lua"
docker exec "$container" gatehouse reload >"$work/log" 2>&1 && fail "gatehouse reload takes a file that is not right"
grep -q 'prosody.cfg.lua:1: ' "$work/log" || { cat "$work/log" >&2; fail "gatehouse reload does not say where the file is not right"; }
log_in secret || fail "after a refused reload a good login does not succeed"

docker kill --signal STOP "$container" >/dev/null
wait_for 60 health_is unhealthy || fail "a daemon that hangs is healthy"
docker kill --signal CONT "$container" >/dev/null
wait_for 60 health_is healthy || fail "it does not get healthy again"

docker stop "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || fail "it ended with exit code $code"
logged '"msg":"stopped"' || fail "it did not end by itself"
say "ok: $(docker image inspect --format '{{.Size}}' gatehouse:test | awk '{ printf "%.0f MB", $1 / 1e6 }')"
