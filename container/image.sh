#!/usr/bin/env bash
# Builds the images from the Dockerfile without any registry, tries them, and says how large they are. The base is made of this
# Debian machine's own packages. `make image` calls it as root; it needs buildah, busybox-static, tini, git and util-linux.
#
# Usage: image.sh SWITCHYARD TERRAFORM   (two programs for Linux)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
switchyard="$(realpath "$1")" terraform="$(realpath "$2")"

work="$(mktemp -d)"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
store=(--root "$work/storage" --runroot "$work/run")
trap 'buildah "${store[@]}" rm --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# base copies programs with the libraries that they are linked to.
base() {
  local root="$1" program file
  mkdir -p "$root"/{bin,etc/ssl/certs,lib,lib64,proc,sys,dev,root,run,sbin,tmp,usr/bin,usr/lib/git-core,usr/share/git-core/templates,var/lib}
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for program in $("$root/bin/busybox" --list); do [ -e "$root/bin/$program" ] || ln -s busybox "$root/bin/$program"; done
  ln -s ../../bin/env "$root/usr/bin/env"
  rm -f "$root/bin/setpriv" # busybox's cannot give up capabilities for good
  for program in git setpriv tini; do cp "$(command -v "$program")" "$root/usr/bin/$program"; done
  cp /usr/lib/git-core/git-remote-http "$root/usr/lib/git-core/"
  ln -s git-remote-http "$root/usr/lib/git-core/git-remote-https"
  for program in git git-upload-pack git-receive-pack; do ln -s ../../bin/git "$root/usr/lib/git-core/$program"; done
  { ldd "$root"/usr/bin/{git,setpriv,tini} "$root/usr/lib/git-core/git-remote-http" || true; } 2>/dev/null |
    grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r file; do
      mkdir -p "$root$(dirname "$file")"
      cp -L "$file" "$root$file"
    done
  mkdir -p "$root/lib/x86_64-linux-gnu"
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
}

base "$work/base"
mkdir -p "$work/build" "$work/terraform/bin"
cp "$switchyard" "$work/build/switchyard"
cp "$terraform" "$work/terraform/bin/terraform"
container="$(buildah "${store[@]}" from scratch)"
buildah "${store[@]}" copy --quiet "$container" "$work/base" / >/dev/null
buildah "${store[@]}" commit --quiet "$container" switchyard-base >/dev/null
if ! said="$(buildah "${store[@]}" run "$container" -- /bin/busybox true 2>&1)"; then
  echo "make image: SKIPPED: this machine does not let buildah run anything ($said), so no image is built" >&2
  exit 0
fi
container="$(buildah "${store[@]}" from scratch)"
buildah "${store[@]}" copy --quiet "$container" "$work/build" / >/dev/null
buildah "${store[@]}" commit --quiet "$container" switchyard-built >/dev/null
container="$(buildah "${store[@]}" from scratch)"
buildah "${store[@]}" copy --quiet "$container" "$work/terraform" / >/dev/null
buildah "${store[@]}" commit --quiet "$container" switchyard-terraform >/dev/null

# The stage `build` would need Go's image: the program that is there already takes its place.
# shellcheck disable=SC2016 # the variables are the Dockerfile's
sed -n '/^FROM \${GO} AS build$/,/^$/!p' Dockerfile | sed 's/^FROM \${TERRAFORM} AS terraform$/&\n\nFROM ${GO} AS build/' >"$work/Dockerfile"
for target in bare action server; do
  buildah "${store[@]}" build --quiet --pull-never --file "$work/Dockerfile" --target "$target" --tag "switchyard-$target" \
    --build-arg BASE=localhost/switchyard-base --build-arg GO=localhost/switchyard-built --build-arg TERRAFORM=localhost/switchyard-terraform \
    . >/dev/null
  buildah "${store[@]}" push --quiet --format oci "switchyard-$target" "oci-archive:$work/$target.tar" >/dev/null
  printf 'image %-6s %d bytes compressed\n' "$target" "$(wc -c <"$work/$target.tar")"
done
# What jobs pull before they begin: it must not grow unseen.
small() {
  [ "$(wc -c <"$work/$1.tar")" -lt "$2" ] || { echo "image.sh: the image $1 is larger than $2 bytes" >&2; exit 1; }
}
small bare 30000000
small action 120000000

# inside runs the entry point of an image with the arguments that GitHub gives it.
inside() {
  local target="$1" container
  shift
  container="$(buildah "${store[@]}" from --pull-never "localhost/switchyard-$target")"
  buildah "${store[@]}" run "$container" -- "$@"
}
expect() {
  local want="$1" said
  shift
  said="$("$@" 2>&1)" || true
  case "$said" in
    *"$want"*) printf 'ok: %s\n' "$want" ;;
    *) printf 'image.sh: expected "%s", got:\n%s\n' "$want" "$said" >&2; exit 1 ;;
  esac
}
entry=(tini -- /usr/local/bin/switchyard)
expect 'switchyard ' inside bare "${entry[@]}" version
expect 'GITHUB_REPOSITORY' inside action "${entry[@]}" action
expect 'Terraform v' inside action terraform version
expect 'git version' inside action git --version
expect 'private key' inside server "${entry[@]}" serve
