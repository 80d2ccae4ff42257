# How the release workflow builds the images, for `docker buildx bake`: https://docs.docker.com/build/bake/reference/
variable "VERSION" {}

# The programs that the release's archives have, in programs/linux_amd64 and programs/linux_arm64. They replace the Dockerfile's stage
# `build`, so that the images have the same bytes as the archives.
target "programs" {
  context           = "programs"
  dockerfile-inline = <<EOT
FROM scratch
ARG TARGETOS TARGETARCH
COPY ${"$"}{TARGETOS}_${"$"}{TARGETARCH}/switchyard /switchyard
EOT
}

target "image" {
  contexts  = { build = "target:programs" }
  platforms = ["linux/amd64", "linux/arm64"]
  attest    = ["type=sbom", "type=provenance,mode=max"]
}

target "action" {
  inherits = ["image"]
  target   = "action"
  tags     = ["ghcr.io/switchyard-dev/switchyard-action:${VERSION}"]
}

target "server" {
  inherits = ["image"]
  target   = "server"
  tags     = ["ghcr.io/switchyard-dev/switchyard:${VERSION}"]
}
