#!/usr/bin/env bash
# Gives the composite action the switchyard binary of exactly the release that its own files belong to. It knows the SHA-256 of each
# file of that release from checksums.txt beside it, so it does not matter where a file comes from, and it needs no token.
#
# Environment: SWITCHYARD_BINARY    a binary that is on the machine already; nothing is downloaded then
#              SWITCHYARD_RELEASES  where a mirror keeps the releases: https://mirror.example/switchyard/releases/download
#              RUNNER_OS, RUNNER_ARCH, RUNNER_TEMP, GITHUB_SERVER_URL, GITHUB_OUTPUT: of GitHub's runner
# Output:      binary, the path of the program
#
# It is Bash 3.2, as macOS has it. Proxies and certificates are what curl finds in the environment: https_proxy, no_proxy, CURL_CA_BUNDLE.
# shellcheck disable=SC2016 # backticks in messages are for the reader
set -euo pipefail

readonly tries=4          # of one address; the pauses between them are 1, 2 and 4 seconds
readonly most=209715200   # bytes that a file of a release may have
readonly seconds=300      # that one download may take
readonly home='https://github.com/switchyard-dev/switchyard'

# fail ends the step with an annotation, which is one line.
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
fail() {
  local text="$*"
  text="${text//'%'/%25}" text="${text//$'\r'/%0D}" text="${text//$'\n'/%0A}"
  printf '::error title=Switchyard::%s\n' "$text"
  exit 1
}

# use hands a program over to the next step, after it has said its name.
use() {
  local version
  version="$("$1" version)" || fail "$1 does not run on this machine. Give the input \`binary\` the path of a switchyard that does."
  printf '%s\n' "$version"
  printf 'binary=%s\n' "$1" >>"$GITHUB_OUTPUT"
}

# platform says how the files of a release name this machine.
platform() {
  local os arch
  case "${RUNNER_OS:-$(uname -s)}" in
    Linux) os=linux ;;
    macOS | Darwin) os=darwin ;;
    Windows | MINGW* | MSYS*) os=windows ;;
    *) os="${RUNNER_OS:-$(uname -s)}" ;;
  esac
  case "${RUNNER_ARCH:-$(uname -m)}" in
    X64 | x86_64 | amd64) arch=amd64 ;;
    ARM64 | aarch64 | arm64) arch=arm64 ;;
    *) arch="${RUNNER_ARCH:-$(uname -m)}" ;;
  esac
  printf '%s_%s' "$os" "$arch"
}

# sha256 prints the SHA-256 of a file: the tools have other names on Linux, macOS and Windows.
sha256() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1" | cut -d ' ' -f 1
  elif command -v shasum >/dev/null; then
    shasum -a 256 <"$1" | cut -d ' ' -f 1
  elif command -v openssl >/dev/null; then
    openssl dgst -sha256 -r <"$1" | cut -d ' ' -f 1
  else
    fail 'This machine has neither sha256sum nor shasum nor openssl, so the download cannot be checked. Install one of them.'
  fi
}

# download gets one address into a file: what a network does is tried again, what a server has decided is not.
download() {
  local from="$1" to="$2" try=1 pause=1 status answer why
  while :; do
    status=0
    answer="$(curl --silent --location --proto '=https,http' --proto-redir '=https' --connect-timeout 20 --max-time "$seconds" \
      --max-filesize "$most" --output "$to" --write-out '%{http_code}' "$from")" || status=$?
    case "$status,$answer" in
      0,200) return 0 ;;
      0,408 | 0,429 | 0,5??) why="the server answered $answer" ;;
      0,*) printf '%s: the server answered %s\n' "$from" "$answer" && return 1 ;;
      63,*) printf '%s: larger than %s bytes\n' "$from" "$most" && return 1 ;;
      18,*) why='the connection was closed before the file was complete' ;;
      28,*) why='it took too long' ;;
      *) why="curl ended with status $status (https://curl.se/libcurl/c/libcurl-errors.html)" ;;
    esac
    printf '%s: %s (try %s of %s)\n' "$from" "$why" "$try" "$tries"
    [ "$try" -lt "$tries" ] || return 1
    sleep "$pause"
    try=$((try + 1)) pause=$((pause * 2))
  done
}

# released reads checksums.txt: the file of this release for a platform, its version and its SHA-256; or which platforms there are.
released() {
  local want="$1" line sum name
  local form='^([0-9a-f]{64})  (switchyard_(v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?)_([a-z]+_[a-z0-9]+)\.tar\.gz)$'
  file='' version='' expected='' platforms=''
  while IFS= read -r line || [ -n "$line" ]; do
    [[ "$line" =~ $form ]] || continue
    sum="${BASH_REMATCH[1]}" name="${BASH_REMATCH[2]}"
    platforms="$platforms ${BASH_REMATCH[5]}"
    if [ "${BASH_REMATCH[5]}" = "$want" ]; then
      file="$name" version="${BASH_REMATCH[3]}" expected="$sum"
    fi
  done <"$(dirname "${BASH_SOURCE[0]}")/checksums.txt"
}

main() {
  [ -n "${GITHUB_OUTPUT:-}" ] || fail 'GITHUB_OUTPUT is not set: this script is a step of an action.'
  local binary="${SWITCHYARD_BINARY:-}" machine
  if [ -n "$binary" ]; then
    case "$binary" in *$'\n'*) fail 'The input `binary` has more than one line.' ;; esac
    [ -x "$binary" ] || fail "The input \`binary\` is $binary, and there is no program."
    use "$binary"
    return
  fi

  machine="$(platform)"
  released "$machine"
  [ -n "$platforms" ] || fail 'This commit of the action is no release, so there is no binary to download. Name a release in `uses`, as' \
    "$home/releases lists them, or give the input \`binary\` the path of a switchyard."
  [ -n "$file" ] || fail "There is no release for $machine, only for:$platforms. Build switchyard on such a machine, and give the" \
    'input `binary` its path.'
  command -v curl >/dev/null || fail 'curl is not on this machine. Install it, or give the input `binary` the path of a switchyard.'

  # A server of one's own may have the action with its releases; what it has not comes from github.com.
  local server="${GITHUB_SERVER_URL:-https://github.com}" sources source found
  sources=("$home/releases/download")
  [ "${server%/}" = 'https://github.com' ] || sources=("${server%/}/${home#https://github.com/}/releases/download" "${sources[@]}")
  [ -z "${SWITCHYARD_RELEASES:-}" ] || sources=("${SWITCHYARD_RELEASES%/}")

  # A directory that nobody else has seen: on self-hosted machines other jobs leave files behind.
  local dir name='switchyard'
  [ "${machine%%_*}" != windows ] || name='switchyard.exe'
  dir="$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/switchyard.XXXXXX")"
  for source in "${sources[@]}"; do
    download "$source/$version/$file" "$dir/$file" || continue
    found="$(sha256 "$dir/$file")"
    if [ "$found" != "$expected" ]; then
      printf '%s: its SHA-256 is %s, and that of the release is %s\n' "$source/$version/$file" "$found" "$expected"
      continue
    fi
    printf 'downloaded %s bytes: %s\n' "$(wc -c <"$dir/$file" | tr -d ' ')" "$source/$version/$file"
    # In the directory, as GNU tar takes D:\a\_temp, where Windows has it, for a machine of the name D.
    (cd "$dir" && tar -xzf "$file" "$name") || fail "$file could not be unpacked: is tar with gzip on this machine, and the disk not full?"
    rm -f "$dir/$file"
    use "$dir/$name"
    return
  done
  rm -rf "$dir"
  fail "switchyard $version for $machine could not be downloaded; the lines above say why. Where this machine cannot reach github.com, set" \
    'SWITCHYARD_RELEASES to a mirror of the releases, or give the input `binary` the path of a switchyard.'
}

main
