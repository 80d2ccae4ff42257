#!/bin/sh
# Makes create.json and change.json anew from terraform/before and terraform/after with the Terraform
# on PATH (made with 1.11.4). Only the built-in provider is used, so nothing is downloaded.
# Afterwards: go test ./plan -update, and read the difference.
set -eu
cd "$(dirname "$0")"
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1

cp terraform/before/main.tf "$work/main.tf"
cd "$work"
terraform init -input=false -no-color >/dev/null
terraform plan -input=false -no-color -out=plan.bin >/dev/null
terraform show -json plan.bin >"$here/create.json"
terraform apply -input=false -no-color plan.bin >/dev/null
cp "$here/terraform/after/main.tf" main.tf
printf '{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","outputs":{},"resources":[]}' >remote.tfstate
terraform plan -input=false -no-color -out=plan.bin >/dev/null
terraform show -json plan.bin >"$here/change.json"
