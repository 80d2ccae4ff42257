# The second state of the fixtures: every kind of change that the built-in provider can make.
terraform {
  backend "local" {}
}

variable "password" {
  type      = string
  sensitive = true
  default   = "battery staple"
}

resource "terraform_data" "region" {
  for_each = toset(["westeurope", "northeurope", "southeast asia"])
  input    = { name = each.key, tags = { env = each.key == "westeurope" ? "prod" : "dev" }, ports = [80, 443] }
}

resource "terraform_data" "secret" {
  input = { login = "root", password = var.password }
}

resource "terraform_data" "all_secret" {
  input = sensitive({ a = "hidden-after", b = 1 })
}

resource "terraform_data" "replaced" {
  input            = "same"
  triggers_replace = { version = "2", zone = "a" }
}

resource "terraform_data" "replaced_create_first" {
  triggers_replace = "2"
  lifecycle {
    create_before_destroy = true
  }
}

resource "terraform_data" "follows" {
  input = terraform_data.replaced.id
}

moved {
  from = terraform_data.old_name
  to   = terraform_data.new_name
}

resource "terraform_data" "new_name" {
  input = "moves"
}

removed {
  from = terraform_data.forgotten
  lifecycle {
    destroy = false
  }
}

import {
  to = terraform_data.imported
  id = "subscription/0/x"
}

resource "terraform_data" "imported" {}

resource "terraform_data" "unchanged" {
  input = "same"
}

resource "terraform_data" "shapes" {
  input = {
    becomes_empty = {}
    was_null      = { a = 1 }
    list          = ["b", "c"]
  }
}

data "terraform_remote_state" "other" {
  backend = "local"
  config  = { path = "${path.module}/remote.tfstate" }

  depends_on = [terraform_data.replaced]
}

check "limits" {
  assert {
    condition     = terraform_data.unchanged.input == "other"
    error_message = "The limit is not \"other\"."
  }
}

output "kept" {
  value = "same"
}

output "changed" {
  value = "new"
}

output "appeared" {
  value = terraform_data.replaced.id
}

output "password" {
  value     = var.password
  sensitive = true
}
