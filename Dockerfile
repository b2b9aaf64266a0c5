# The shop as one static program in an image that has nothing else. It is the master, and PID 1: it reaps what dies, and
# `docker kill --signal USR2` rolls its workers.
#
#   docker build -t doorbuster .
#   docker build -t doorbuster --build-arg GOFLAGS=-mod=vendor .      after "go mod vendor": needs no network
ARG GO_IMAGE=golang:1.26.8-alpine3.23
ARG FINAL_IMAGE=scratch

FROM ${GO_IMAGE} AS build
ARG GOFLAGS=
ARG GOPROXY=
ARG VERSION=
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
# The modules are a layer of their own, which changes when go.mod does.
COPY go.mod go.sum ./
RUN case "$GOFLAGS" in *-mod=vendor*) ;; *) go mod download ;; esac
COPY . .
RUN mkdir -p /out/tmp /out/etc/ssl/certs && chmod 1777 /out/tmp && \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/doorbuster ./cmd/doorbuster && \
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; fi

FROM ${FINAL_IMAGE}
COPY --from=build /out /
# Nobody in particular: the same number as in the distroless images.
USER 65532:65532
ENV ADDR=:3000 LOG_FORMAT=json
EXPOSE 3000 3001
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/doorbuster", "status", "--ready"]
ENTRYPOINT ["/doorbuster"]
CMD ["serve"]
