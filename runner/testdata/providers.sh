#!/bin/sh
# Builds the providers random, time and local from their source and lays them out as a mirror, for tests that use them:
#   SWITCHYARD_TEST_PROVIDERS=$(runner/testdata/providers.sh DIRECTORY) go test ./runner -run FalseAlarms
# They come from the Go module proxy, because not every machine reaches a provider registry. It prints the directory.
set -eu
mirror=$(mkdir -p "$1" && cd "$1" && pwd)
platform=$(go env GOOS)_$(go env GOARCH)
build() { # name, version of the provider, module
	dir=$mirror/registry.terraform.io/hashicorp/$1/$2/$platform
	[ -x "$dir/terraform-provider-$1_v$2" ] && return
	mkdir -p "$dir"
	GOBIN=$dir GOFLAGS=-mod=mod go install "$3" >&2
	mv "$dir/terraform-provider-$1" "$dir/terraform-provider-$1_v$2"
}
build time 0.14.2 github.com/hashicorp/terraform-provider-time@v0.14.2
build random 3.9.0 github.com/terraform-providers/terraform-provider-random@v1.3.2-0.20260513075824-f8d869dc98d9
build local 2.9.0 github.com/terraform-providers/terraform-provider-local@v1.4.1-0.20260513075820-3561e410f9fe
echo "$mirror"
