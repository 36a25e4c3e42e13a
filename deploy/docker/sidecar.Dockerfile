# The image of the sidecar; built from the root of the project:
#   docker build --file deploy/docker/sidecar.Dockerfile --tag countersign-sidecar .
#
# RUST_IMAGE pins what it is built with by its digest: rust@sha256:...
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bins --package countersign-sidecar \
    && deploy/docker/root /image sidecar target/release/countersign-sidecar

# Nothing but the programs and their libraries: no shell, no package manager.
FROM scratch
LABEL org.opencontainers.image.title="countersign-sidecar" \
      org.opencontainers.image.description="Countersign, an identity provider for service meshes: the sidecar" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/root/ /
COPY --from=build --chown=65532:65532 /image/state/ /var/lib/countersign/
COPY --from=build --chown=65532:65532 /image/run/ /run/countersign/
USER 65532:65532
VOLUME ["/var/lib/countersign/sidecar"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/usr/bin/countersign-sidecar", "status"]
ENTRYPOINT ["/usr/bin/countersign-sidecar"]
CMD ["run", "--config", "/etc/countersign/sidecar.toml"]
