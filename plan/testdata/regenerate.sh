#!/bin/sh
# Makes the plans in this directory anew, as README.md says: regenerate.sh [--tool PATH] [MIRROR]
# Afterwards: go test ./plan -update, and read the difference.
set -eu
cd "$(dirname "$0")"
here=$PWD
tool=terraform prefix=
if [ "${1:-}" = --tool ]; then
	tool=$2
	case $tool in *tofu) prefix=tofu- ;; esac
	shift 2
fi
mirror=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_CLI_CONFIG_FILE="$work/config.tfrc"
if [ -n "$mirror" ]; then
	printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "$mirror" >"$TF_CLI_CONFIG_FILE"
else
	: >"$TF_CLI_CONFIG_FILE"
fi
state() { printf '{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","outputs":{%s},"resources":[]}' "$1"; }
begin() { # a configuration
	rm -rf "$work/root" && cp -r "$here/terraform/$1" "$work/root" && cd "$work/root"
	state '"network":{"value":"10.0.0.0/16","type":"string"}' >remote.tfstate
	printf 'one' >input.txt
	"$tool" init -input=false -no-color >/dev/null
}
plan() { "$tool" plan -input=false -no-color -out=plan.bin "$@" >/dev/null; }
write() { "$tool" show -json plan.bin >"$here/$prefix$1.json"; }
apply() { "$tool" apply -input=false -no-color plan.bin >/dev/null 2>&1; }

begin before
plan && write create && apply
cp "$here/terraform/after/main.tf" main.tf
state '' >remote.tfstate
plan && write change

begin reasons-before
plan && apply
plan -var version_of_it=2 && ! apply # an object is not made wholly
cp "$here/terraform/reasons-after/main.tf" main.tf
state '"network":{"value":"10.1.0.0/16","type":"string"}' >remote.tfstate
"$tool" get -no-color >/dev/null
plan && write reasons

begin deposed
plan && apply
plan -var version_of_it=2 && ! apply # the old object stays, the new one is tainted
plan -var version_of_it=2 && write deposed

begin deferred # only builds of Terraform that allow experiments put changes off
! plan -allow-deferral 2>/dev/null || write deferred

[ -n "$mirror" ] || exit 0
begin providers-before
plan && apply
cp "$here/terraform/providers-after/main.tf" main.tf
rm kept.txt
printf 'two' >input.txt
plan && write providers
