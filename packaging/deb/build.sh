#!/bin/sh
# Builds the Debian package and prints its name. VERSION is the package's, by default that of the last tag, or the date
# of the last commit; GOARCH is the architecture, by default this machine's.
set -eu
cd "$(dirname "$0")/../.."

NFPM=${NFPM:-github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0}
ARCH=${GOARCH:-$(go env GOHOSTARCH)}
unset GOARCH # for the tools, which run here
tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null || true)
VERSION=${VERSION:-${tag:+$(printf '%s' "${tag#v}" | tr - +)}}
VERSION=${VERSION:-$(git log -1 --format='0~%cd.%h' --date=format:%Y%m%d)}
OUT=$(mktemp -d)
trap 'rm -rf "$OUT"' EXIT
export ARCH VERSION OUT

GOARCH=$ARCH CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$OUT/gatehouse" ./cmd/gatehouse
# The pages and completions are printed by the program, one that runs here.
native=$OUT/gatehouse
if [ "$ARCH" != "$(go env GOHOSTARCH)" ]; then
	native=$OUT/native
	go build -o "$native" ./cmd/gatehouse
fi

umask 022
share=$OUT/share
doc=$share/doc/gatehouse
mkdir -p "$share/man/man5" "$share/man/man8" "$share/bash-completion/completions" "$share/zsh/vendor-completions" \
	"$share/fish/vendor_completions.d" "$doc/docs" "$doc/examples"
"$native" man 5 | gzip -9n >"$share/man/man5/gatehouse.cfg.5.gz"
"$native" man 8 | gzip -9n >"$share/man/man8/gatehouse.8.gz"
"$native" completion bash >"$share/bash-completion/completions/gatehouse"
"$native" completion zsh >"$share/zsh/vendor-completions/_gatehouse"
"$native" completion fish >"$share/fish/vendor_completions.d/gatehouse.fish"
# The example names its script as ./examples/auth.sh.
cp README.md CHANGELOG.md prosody.cfg.lua.example "$doc"
cp docs/*.md docs/*.png "$doc/docs"
cp -R examples/* contrib/* prosody/mod_auth_gatehouse.lua packaging/systemd/scripts-with-sudo.conf "$doc/examples"
gzip -9n >"$doc/changelog.gz" <<END
gatehouse ($VERSION) unstable; urgency=medium

  * What changed is in CHANGELOG.md.

 -- gatehouse developers <packages@gatehouse.im>  $(git log -1 --format=%cD)
END
find "$share" -type f -exec chmod a-x {} +
chmod 755 "$doc/examples/auth.sh"

mkdir -p bin
go run "$NFPM" package --config packaging/nfpm.yaml --packager deb --target "$OUT" >"$OUT/log" 2>&1 || {
	cat "$OUT/log" >&2
	exit 1
}
mv "$OUT"/*.deb bin/
echo bin/*_"$VERSION"_"$ARCH".deb
