# What the scripts that use Docker have in common; they source it. The caller has set $work, a directory to throw away, and
# calls docker_stop when it ends.

# wait_for SECONDS COMMAND...: runs the command until it succeeds.
wait_for() {
	until=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$until" ] || return 1
		sleep 0.2
	done
}

docker_answers() { docker info >/dev/null 2>&1; }

# docker_start: uses the Docker daemon that is there, or, as root with none running, one of its own. That one keeps its
# images in $DOCKER_DATA if that is set.
docker_start() {
	dockerd=
	if ! docker_answers; then
		export DOCKER_HOST="unix://$work/docker.sock"
		dockerd --host "$DOCKER_HOST" --data-root "${DOCKER_DATA:-$work/data}" --exec-root "$work/exec" --pidfile "$work/pid" >"$work/dockerd.log" 2>&1 &
		dockerd=$!
		wait_for 60 docker_answers || { tail -5 "$work/dockerd.log" >&2; echo "no Docker daemon answers, and none could be started" >&2; return 1; }
	fi
	# The legacy builder does all that our Dockerfiles need, and is everywhere.
	docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
}

# docker_stop: ends the daemon that docker_start started.
docker_stop() {
	if [ -n "${dockerd-}" ]; then
		kill "$dockerd" 2>/dev/null || true
		wait "$dockerd" 2>/dev/null || true
	fi
}

# docker_have IMAGE: it is there, or can be pulled.
docker_have() { docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null 2>&1; }

# docker_debian: sees to debian:bookworm-slim. Where Docker's registry cannot be reached it is made from Debian's packages.
docker_debian() {
	docker_have debian:bookworm-slim && return
	echo "making debian:bookworm-slim"
	debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; return 1; }
	tar -C "$work/debian" -c . | docker import - debian:bookworm-slim >/dev/null
	rm -rf "$work/debian"
}
