# The image of the control plane; built from the root of the project:
#   docker build --file deploy/docker/control-plane.Dockerfile --tag countersign-control-plane .
#
# RUST_IMAGE pins what it is built with by its digest: rust@sha256:...
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bins --package countersign-control-plane --package countersign-operator \
    && deploy/docker/root /image control-plane target/release/countersign-control-plane target/release/countersign

# Nothing but the programs and their libraries: no shell, no package manager.
FROM scratch
LABEL org.opencontainers.image.title="countersign-control-plane" \
      org.opencontainers.image.description="Countersign, an identity provider for service meshes: the control plane" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/root/ /
COPY --from=build --chown=65532:65532 /image/state/ /var/lib/countersign/
COPY --from=build --chown=65532:65532 /image/run/ /run/countersign/
USER 65532:65532
VOLUME ["/var/lib/countersign/control-plane"]
EXPOSE 8443
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/usr/bin/countersign", "bundle", "show"]
ENTRYPOINT ["/usr/bin/countersign-control-plane"]
CMD ["run", "--config", "/etc/countersign/control-plane.toml"]
