# What the scripts that use Docker have in common; they source it from the root of the repository. The caller has set $work, a
# directory to throw away, and calls docker_stop when it ends. Every wait has an end, and what fails says why.

# wait_for SECONDS COMMAND...: runs the command until it succeeds.
wait_for() {
	until=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$until" ] || return 1
		sleep 0.2
	done
}

root() { [ "$(id -u)" -eq 0 ]; }

docker_answers() { timeout 20 docker info >/dev/null 2>&1; }

# docker_deps: sees to it that there is an engine, or one can be started, and compose. Without root it says what to do.
docker_deps() {
	if ! root && ! docker_answers; then
		echo "the tests with Prosody and ejabberd in containers need Docker: run them as root, or give this user an engine that answers (docker info); \`go test ./...\` leaves them out" >&2
		return 1
	fi
	missing=
	docker_answers || { command -v docker && command -v dockerd; } >/dev/null || missing=docker.io
	docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || missing="$missing docker-compose"
	# shellcheck disable=SC2086 # the list is meant to be split
	scripts/test-deps.sh $missing
}

# docker_start: uses the Docker daemon that is there, or, as root with none running, one of its own. That one keeps its
# images in $DOCKER_DATA and its sockets in $DOCKER_RUN, if they are set. If so, what a killed run left of it is ended first.
docker_start() {
	dockerd=
	if ! docker_answers; then
		data=${DOCKER_DATA:-$work/data} run=${DOCKER_RUN:-$work}
		mkdir -p -m 700 "$run"
		if old=$(cat "$run/pid" 2>/dev/null) && [ "$(cat "/proc/$old/comm" 2>/dev/null)" = dockerd ]; then
			end_process "$old"
		fi
		rm -f "$run/pid"
		export DOCKER_HOST="unix://$run/docker.sock"
		# 9 is the caller's lock, which is not the daemon's to hold.
		dockerd --host "$DOCKER_HOST" --data-root "$data" --exec-root "$run/exec" --pidfile "$run/pid" >"$work/dockerd.log" 2>&1 9>&- &
		dockerd=$!
		wait_for 90 docker_decided || true
		docker_answers || { tail -10 "$work/dockerd.log" >&2; echo "no Docker daemon answers, and none could be started" >&2; return 1; }
	fi
	# The legacy builder does all that our Dockerfiles need, and is everywhere.
	docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
}

# docker_decided: the daemon answers, or ended.
docker_decided() { docker_answers || has_ended "$dockerd"; }

# docker_stop: ends the daemon that docker_start started.
docker_stop() {
	if [ -n "${dockerd-}" ]; then
		end_process "$dockerd"
	fi
}

# has_ended PID: it is gone, or nobody has asked yet how it ended.
has_ended() { ! grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# end_process PID: asks it to end, and makes it.
end_process() {
	kill "$1" 2>/dev/null || return 0
	wait_for 60 has_ended "$1" || kill -KILL "$1" 2>/dev/null || true
}

# docker_have IMAGE: it is there, or can be pulled.
docker_have() { docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$1" >/dev/null 2>&1; }

# docker_debian RELEASE: sees to debian:RELEASE-slim. Where Docker's registry cannot be reached it is made from Debian's packages,
# which come from where this machine has its own. The image gets them from there as well: `docker build` needs some.
docker_debian() {
	apt_proxy
	docker_have "debian:$1-slim" && return
	if ! root; then
		echo "debian:$1-slim cannot be pulled, and only root can make it" >&2
		return 1
	fi
	scripts/test-deps.sh debootstrap
	echo "making debian:$1-slim"
	# Not in /tmp, where there may be no devices.
	tree=${DOCKER_DATA:-$work}/debian-$1
	remove_tree "$tree"
	# shellcheck disable=SC2016 # apt's variables
	mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
		sed -n 's/^[a-z]* main \(https\{0,1\}:\)/\1/p' | head -1)
	timeout 900 debootstrap --variant=minbase --include=ca-certificates "$1" "$tree" ${mirror:+"$mirror"} >"$work/log-$1" 2>&1 ||
		{ tail -5 "$work/log-$1" "$tree/debootstrap/debootstrap.log" >&2; echo "debian:$1-slim can be neither pulled nor made" >&2; return 1; }
	# No proxy: the image is kept, and the proxy of this machine may be another one tomorrow.
	apt-config dump | grep -i '^Acquire::check-' >"$tree/etc/apt/apt.conf.d/90machine" || true
	cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
	tar -C "$tree" -c . | docker import - "debian:$1-slim" >/dev/null || return 1
	remove_tree "$tree"
}

# apt_proxy: lets debootstrap and `docker build` use the proxy that apt has, unless the environment names one.
apt_proxy() {
	from_apt=
	eval "$(apt-config shell from_apt Acquire::http::Proxy 2>/dev/null)"
	case $from_apt in
	http*) export http_proxy="${http_proxy-$from_apt}" ;;
	esac
}

# remove_tree DIRECTORY: removes a root of debootstrap's, which may have ended before it unmounted what it needs.
remove_tree() {
	umount "$1/proc" "$1/sys" 2>/dev/null || true
	rm -rf --one-file-system "$1"
}
