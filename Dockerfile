# `make image` builds this with docker, podman or buildah. There is no syntax
# line, for that would be one more image to pull.
ARG BASE=docker.io/library/golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
FROM --platform=$BUILDPLATFORM $BASE AS build
# The image's Go fetches the one that go.mod names, and checks it by the checksum
# database of Go, as it does with modules.
ENV GOTOOLCHAIN=auto
WORKDIR /src
# Empty is Go's own; https://goproxy.cn in mainland China.
ARG GOPROXY=
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
ARG VERSION=dev
ARG REVISION=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH VERSION=$VERSION REVISION=$REVISION hack/image/compile.sh /out/ ./cmd/... && install -m 644 "$(go env GOROOT)/lib/time/zoneinfo.zip" /out

# No shell, no package manager, no libc: nothing to attack and nothing to patch
# but the program itself. `go run -C hack ./image` makes the same without a builder.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The time zones come with Go, so they need no package in either stage.
COPY --from=build /out/zoneinfo.zip /zoneinfo.zip
ENV ZONEINFO=/zoneinfo.zip
USER 65532:65532
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# For tests in a cluster: --target fake-wechat.
FROM base AS fake-wechat
LABEL org.opencontainers.image.title="fake-wechat" \
      org.opencontainers.image.description="The WeChat API for tests and demonstrations"
COPY --from=build /out/fake-wechat /fake-wechat
ENTRYPOINT ["/fake-wechat"]

# For servers outside the cluster: --target token-server.
FROM base AS token-server
LABEL org.opencontainers.image.title="wechat-token-server" \
      org.opencontainers.image.description="Hands WeChat access_tokens to servers outside the cluster"
COPY --from=build /out/token-server /token-server
ENTRYPOINT ["/token-server"]

# For a trial, which has one image to load: --target all. config/trial says what runs.
FROM base AS all
LABEL org.opencontainers.image.title="wechat-token-operator-trial" \
      org.opencontainers.image.description="The operator, the WeChat API for demonstrations, and what uses a token"
COPY --from=build /out/manager /out/token-server /out/fake-wechat /out/trial /

FROM base AS manager
LABEL org.opencontainers.image.title="wechat-token-operator" \
      org.opencontainers.image.description="Every pod that needs a WeChat access_token always has a valid one"
COPY --from=build /out/manager /manager
ENTRYPOINT ["/manager"]
