# syntax=docker/dockerfile:1
# The agent as an image of one static program, for amd64 and arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max .
#
# The program is built on the machine's own architecture and cross-compiled for the
# other. tests/src/rootfs.rs reads the last stage and makes the same root folder
# without Docker.

FROM --platform=$BUILDPLATFORM rust:1.95.0-bookworm AS build
ARG BUILDARCH
ARG TARGETARCH
RUN case "$BUILDARCH-$TARGETARCH" in \
        amd64-amd64 | arm64-arm64) exit ;; \
        amd64-arm64) cross="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        arm64-amd64) cross="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        *) echo "no agent for $TARGETARCH on $BUILDARCH" >&2; exit 1 ;; \
    esac \
    && apt-get update \
    && apt-get install -y --no-install-recommends $cross \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    case "$TARGETARCH" in \
        amd64) cpu=x86_64 alias=build-static ;; \
        arm64) cpu=aarch64 alias=build-static-arm64 ;; \
    esac \
    && target=$cpu-unknown-linux-gnu \
    && rustup target add "$target" \
    && if [ "$BUILDARCH" != "$TARGETARCH" ]; then \
        export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=$cpu-linux-gnu-gcc"; \
    fi \
    && cargo "$alias" --locked \
    && install -D -t /out "target/$target/release/periscope-agent" LICENSE

FROM scratch
ARG VERSION=0.0.0-dev
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="periscope-agent" \
    org.opencontainers.image.description="Writes what an AKS node saw into one compressed database" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.source="$SOURCE"
COPY --from=build /out/periscope-agent /periscope-agent
COPY --from=build /out/LICENSE /LICENSE
ENTRYPOINT ["/periscope-agent"]
