# The same image from files that are there already: the context is what deploy/images/rootfs wrote. Pulls nothing.
FROM scratch
COPY . /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="evenkeel" \
      org.opencontainers.image.description="Streams of device events become exact window rows" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
WORKDIR /
EXPOSE 8080 8090 1883 9464
ENTRYPOINT ["/usr/bin/evenkeel"]
