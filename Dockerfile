# docker build --target server -t switchyard .
# docker build --target action -t switchyard-action .
# docker build --target bare -t switchyard-action:bare .
#
# Any base with a shell will do: what is missing is installed where it has apk or apt-get (container/packages).
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
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /switchyard ./cmd/app

# What both have: git, certificates, an init that ends what a process has left.
FROM ${BASE} AS base
COPY container/packages /tmp/packages
RUN /bin/sh /tmp/packages && rm /tmp/packages

# The server: one static binary with git and Terraform beside it, as a user without rights.
FROM base AS server
RUN echo 'switchyard:x:65532:65532::/var/lib/switchyard:/sbin/nologin' >> /etc/passwd \
 && mkdir -p -m 0700 /var/lib/switchyard \
 && chown 65532:65532 /var/lib/switchyard
COPY --from=terraform /bin/terraform /usr/local/bin/terraform
COPY --from=build /switchyard /usr/local/bin/switchyard
USER 65532:65532
WORKDIR /var/lib/switchyard
VOLUME /var/lib/switchyard
EXPOSE 8080
# Alive, not ready: a database that is away for a while is no reason to end running applies.
HEALTHCHECK --interval=30s --timeout=5s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["tini", "--", "/usr/local/bin/switchyard"]
CMD ["serve"]

# The container action without Terraform: it downloads the version that the configuration names. GitHub mounts the workspace with another
# owner and asks for root: https://docs.github.com/en/actions/reference/dockerfile-support-for-github-actions#user
FROM base AS bare
RUN git config --system --add safe.directory /github/workspace
COPY --from=build /switchyard /usr/local/bin/switchyard
ENTRYPOINT ["tini", "--", "/usr/local/bin/switchyard"]

# The container action. Terraform runs without root's capabilities (container/terraform).
FROM bare AS action
COPY --from=terraform /bin/terraform /usr/local/libexec/terraform
COPY container/terraform /usr/local/bin/terraform
