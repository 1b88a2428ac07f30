# gatehouse in a container:
#
#     docker build -t gatehouse .
#     docker run -p 5222:5222 -v /etc/prosody:/etc/prosody:ro -v gatehouse:/var/lib/gatehouse gatehouse
#
# docs/install.md tells more.

FROM golang:1.26-bookworm AS build
WORKDIR /src
# Where modules come from, for builders behind a mirror.
ARG GOPROXY
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /gatehouse ./cmd/gatehouse

# Not an empty image, since your script needs an interpreter. Debian's has sh and perl; for others begin a Dockerfile with
#     FROM gatehouse
#     USER root
#     RUN apt-get update && apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
#     USER gatehouse
FROM debian:bookworm-slim
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends ca-certificates \
	&& rm -rf /var/lib/apt/lists/* \
	&& groupadd --system --gid 5222 gatehouse \
	&& useradd --system --uid 5222 --gid gatehouse --home-dir /var/lib/gatehouse --no-create-home --shell /usr/sbin/nologin gatehouse \
	&& install --directory --owner gatehouse --group gatehouse --mode 0700 /var/lib/gatehouse
COPY --from=build /gatehouse /usr/bin/gatehouse
USER gatehouse
ENV STATE_DIRECTORY=/var/lib/gatehouse
VOLUME /var/lib/gatehouse
EXPOSE 5222 5223
# The daemon reloads by itself when the config changes, and at `docker kill --signal=HUP`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s CMD ["gatehouse", "health"]
ENTRYPOINT ["gatehouse"]
CMD ["serve"]
