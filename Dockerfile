# An image that holds one static binary, the authorities that TLS is trusted by, and nothing else.
#
#   docker build -t tidewire .
#   docker run --rm -p 127.0.0.1:8080:8080 tidewire serve --dev-public     # to try it: this machine alone reaches it
#
# In production say who may come in, by environment and files: see docs/install.md.

ARG RUST_IMAGE=docker.io/library/rust:1-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# What was compiled stays in these two caches from one build to the next, the dependencies above all. A layer of its own
# for them would take every manifest of the workspace and a stand-in for each of its crates.
RUN --mount=type=cache,id=tidewire-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=tidewire-target,target=/target \
    host="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' CARGO_TARGET_DIR=/target \
       cargo build --release --locked --package tidewire-cli --target "$host" \
    && mkdir -p /image/etc/tidewire \
    && CARGO_TARGET_DIR=/target cargo run --quiet --locked --package xtask -- licences > /image/etc/tidewire/THIRD-PARTY \
    && install -D "/target/$host/release/tidewire" /image/usr/bin/tidewire \
    && strip --strip-debug /image/usr/bin/tidewire
# Names are looked up in /etc/hosts first, then asked of the DNS: without this file the C library asks the DNS first.
RUN mkdir -p /image/etc/ssl/certs /image/etc/tidewire /image/var/lib/tidewire \
    && echo "hosts: files dns" > /image/etc/nsswitch.conf \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && cp LICENSE-APACHE LICENSE-MIT /image/etc/tidewire/ \
    && chown -R 65532:65532 /image/var/lib/tidewire

FROM scratch
COPY --from=build /image /
LABEL org.opencontainers.image.title="Tidewire" \
      org.opencontainers.image.description="Live delivery from a backend to browsers, over SSE, WebSocket and polling" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# Inside a container loopback is for nobody. Dev mode does not listen there unless it is told to, and says what to do.
ENV TIDEWIRE_LISTEN=0.0.0.0:8080 \
    XDG_STATE_HOME=/var/lib
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/bin/tidewire", "healthcheck"]
ENTRYPOINT ["/usr/bin/tidewire"]
CMD ["serve"]
