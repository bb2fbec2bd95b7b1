# syntax=docker/dockerfile:1

# Build: the whole workspace is copied, because the lock file covers all of it.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p aos-server \
    && install -D target/dist/aos-server /out/aos-server

# Run: one binary, no shell tools beyond the base image, no root.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/aos --shell /usr/sbin/nologin aos \
    && install -d -o aos -g aos -m 0750 /var/lib/aos /var/log/aos
COPY --from=build /out/aos-server /usr/local/bin/aos-server
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/aos-server/
USER 10001:10001
WORKDIR /var/lib/aos
ENV PORT=8000 \
    DATABASE_URL=sqlite:///var/lib/aos/aos.db \
    LOG_FORMAT=json
VOLUME /var/lib/aos
EXPOSE 8000
# SIGTERM lets runs in flight reach a durable point before the process ends.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /health/ready HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["aos-server"]
