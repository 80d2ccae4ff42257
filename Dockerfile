# docker build --target server -t switchyard .
# docker build --target action -t switchyard-action .
ARG GO=golang:1.26-alpine
ARG BASE=alpine:3.22
ARG TERRAFORM=hashicorp/terraform:1.11.4

FROM ${TERRAFORM} AS terraform

FROM ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /switchyard ./cmd/app

# The server: one static binary with git and Terraform beside it, as a user without rights.
FROM ${BASE} AS server
RUN apk add --no-cache ca-certificates git tini \
 && adduser -D -H -u 65532 -h /var/lib/switchyard switchyard \
 && install -d -m 0700 -o switchyard -g switchyard /var/lib/switchyard
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
COPY --from=build /switchyard /usr/local/bin/switchyard
USER 65532:65532
WORKDIR /var/lib/switchyard
VOLUME /var/lib/switchyard
EXPOSE 8080
# Alive, not ready: a database that is away for a while is no reason to end running applies.
HEALTHCHECK --interval=30s --timeout=5s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"]
# tini ends what a runner that died has left.
ENTRYPOINT ["/sbin/tini", "--", "/usr/local/bin/switchyard"]
CMD ["serve"]

# The container action. GitHub mounts the workspace with another owner and asks for root:
# https://docs.github.com/en/actions/reference/dockerfile-support-for-github-actions#user
# Terraform runs without root's capabilities (container/terraform).
FROM ${BASE} AS action
RUN apk add --no-cache ca-certificates git setpriv tini \
 && git config --system --add safe.directory /github/workspace
COPY --from=terraform /bin/terraform /usr/local/libexec/terraform
COPY container/terraform /usr/local/bin/terraform
COPY --from=build /switchyard /usr/local/bin/switchyard
ENTRYPOINT ["/sbin/tini", "--", "/usr/local/bin/switchyard"]
